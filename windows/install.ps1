<#
.SYNOPSIS
    Takes a Windows Server (2019, 2022 or newer) to a running Message Broker, or heals one. Safe to run again.

.DESCRIPTION
    Run it in PowerShell "as administrator", from the folder with the source. What this script does itself is to find Python
    and to make an environment below ROOT\releases; all else is `messagebroker windows install`, which is called at the end.

.EXAMPLE
    .\windows\install.ps1 -Domain broker.example.org

.EXAMPLE
    .\windows\install.ps1 -Python 'C:\Program Files\Python311\python.exe' -Handover C:\Handover
#>
[CmdletBinding()]
param(
    [string]$Root = 'C:\MessageBroker',
    [string]$Domain = '',
    [string]$Python = '',
    [string]$Handover = '',
    [System.Management.Automation.PSCredential]$ServiceAccount,
    [switch]$NoStart
)

$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

Assert-Server
$Root = Get-FullPath $Root
$Handover = Get-FullPath $Handover
$Interpreter = Find-Python $Python
$Source = Split-Path -Parent $PSScriptRoot
$Release = Get-ReleaseInUse $Root
if ($Release -and -not $Release.StartsWith("$(Get-SourceVersion $Source)-")) {
    throw "$Root runs release $Release, and this is another version: windows\upgrade.ps1 changes to it, with a backup and a way back."
}
if (-not $Release) {
    Protect-Folder $Root
    $Release = New-ReleaseName $Source
}
$Folder = Join-Path (Join-Path $Root 'releases') $Release

# a release that works is left alone: services run from it
if (-not (Test-Release $Folder)) {
    Invoke-Program $Interpreter @((Join-Path $Source 'bootstrap.py'), 'release', $Folder)
    Set-ReleaseInUse $Root $Release
}

$Words = @('-I', '-m', 'messagebroker', 'windows', 'install', '--root', $Root)
if ($Domain) { $Words += @('--domain', $Domain) }
if ($Handover) { $Words += @('--handover', $Handover) }
if ($NoStart) { $Words += '--no-start' }
if ($ServiceAccount) {
    $Words += @('--account', $ServiceAccount.UserName)
    $env:SERVICE_ACCOUNT_PASSWORD = $ServiceAccount.GetNetworkCredential().Password
}
try {
    Invoke-Program (Join-Path $Folder 'Scripts\python.exe') $Words
} finally {
    Remove-Item Env:SERVICE_ACCOUNT_PASSWORD -ErrorAction SilentlyContinue
}
