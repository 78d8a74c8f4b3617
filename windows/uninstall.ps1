<#
.SYNOPSIS
    Removes the services, the firewall rules and the program. Settings, certificates, keys, logs, backups and the database stay.

.EXAMPLE
    .\windows\uninstall.ps1
#>
[CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'High')]
param(
    [string]$Root = 'C:\MessageBroker'
)

$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

Assert-Server
$Root = Get-FullPath $Root
$Python = Get-ReleasePython $Root
if ($PSCmdlet.ShouldProcess($Root, 'Stop and remove the services and the program')) {
    Invoke-Program $Python @('-I', '-m', 'messagebroker', 'windows', 'uninstall', '--root', $Root, '--yes')
    Remove-Item -Recurse -Force (Join-Path $Root 'releases')
    Write-Host "To remove all data for good, when a backup is elsewhere: Remove-Item -Recurse $Root"
}
