<#
.SYNOPSIS
    Takes a Windows Server (2019, 2022 or newer) to a running Message Broker, or heals one. Safe to run again.

.DESCRIPTION
    Run it in PowerShell "as administrator", from the folder with the source. What this script does itself is to find Python
    and to make an environment below ROOT\releases; all else is `messagebroker windows install`, which is called at the end.

.EXAMPLE
    .\windows\install.ps1 -Domain broker.example.org

.EXAMPLE
    $env:DATABASE_URL = 'mysql+pymysql://systemuser:PASSWORD@localhost:3306/message_system'
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
$Interpreter = Find-Python $Python
$Source = Split-Path -Parent $PSScriptRoot
$Release = Get-ReleaseInUse $Root
if (-not $Release) { $Release = New-ReleaseName $Source }
$Folder = Join-Path (Join-Path $Root 'releases') $Release

New-ProtectedFolder $Root
Invoke-Program $Interpreter @((Join-Path $Source 'bootstrap.py'), 'release', $Folder)

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
Set-ReleaseInUse $Root $Release
