<#
.SYNOPSIS
    Puts the version in this folder in place of the one that runs, or goes back to the one before.

.DESCRIPTION
    The new version is made ready beside the old one, which goes on. A pending migration makes a backup first. A message
    proves the new version; when it fails the old one is started again. All of it is `messagebroker services upgrade`.

.EXAMPLE
    .\windows\upgrade.ps1

.EXAMPLE
    .\windows\upgrade.ps1 -Rollback
#>
[CmdletBinding()]
param(
    [string]$Root = 'C:\MessageBroker',
    [switch]$Rollback
)

$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

Assert-Server
$Root = Get-FullPath $Root
$Python = Get-ReleasePython $Root
$Words = @('-I', '-m', 'messagebroker', 'services')
if ($Rollback) {
    $Words += @('rollback', '--home', 'windows', '--root', $Root)
} else {
    $Source = Split-Path -Parent $PSScriptRoot
    $Words += @('upgrade', $Source, '--home', 'windows', '--root', $Root)
}
Invoke-Program $Python $Words
