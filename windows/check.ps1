<#
.SYNOPSIS
    Checks on this server what only a real Windows can show. docs/windows.md says what is proven elsewhere.

.DESCRIPTION
    For a test server with a fresh installation that runs: it kills a worker, breaks and mends the proxy's settings, and stops
    and starts services. Ends with 1 when a check failed. With -AfterReboot it checks what a restart of the machine must leave.

.EXAMPLE
    .\windows\check.ps1

.EXAMPLE
    Restart-Computer   # and then
    .\windows\check.ps1 -AfterReboot
#>
[CmdletBinding()]
param(
    [string]$Root = 'C:\MessageBroker',
    [switch]$AfterReboot
)

$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'common.ps1')

Assert-Server
$Root = Get-FullPath $Root
$Python = Get-ReleasePython $Root
$Services = 'MessageBrokerMainServer', 'MessageBrokerProxy', 'MessageBrokerScheduler', 'MessageBrokerWorker', 'MessageBrokerPortal'
$Failed = 0

function Test-That([string]$What, [scriptblock]$Check) {
    try {
        $ok = & $Check
        $why = ''
    } catch {
        $ok = $false
        $why = $_.Exception.Message
    }
    if ($ok) {
        Write-Host "PASS  $What" -ForegroundColor Green
    } else {
        Write-Host "FAIL  $What  $why" -ForegroundColor Red
        $script:Failed += 1
    }
}

function Invoke-Broker([string[]]$Words) {
    $ErrorActionPreference = 'Continue'   # else PowerShell 5.1 ends at the first line on standard error
    Push-Location $Root
    try {
        $said = & $Python -I -m messagebroker @Words 2>&1 | Out-String
        return @{ Code = $LASTEXITCODE; Said = $said }
    } finally {
        Pop-Location
    }
}

function Wait-Until([scriptblock]$Check, [int]$Seconds) {
    $end = (Get-Date).AddSeconds($Seconds)
    while ((Get-Date) -lt $end) {
        if (& $Check) { return $true }
        Start-Sleep -Seconds 1
    }
    return $false
}

function Get-Sc([string]$Verb, [string]$Service) { return (& sc.exe $Verb $Service | Out-String) }

function Test-Running { return -not (Get-Service $Services | Where-Object { $_.Status -ne 'Running' }) }

if ($AfterReboot) {
    Test-That 'all services run again within five minutes (delayed start, order of dependencies)' {
        Wait-Until { Test-Running } 300
    }
    Test-That 'the shutdown let every role end in order (no role counts a fall)' {
        foreach ($folder in 'main_server', 'proxy', 'worker', 'scheduler', 'portal') {
            $count = Get-Content (Join-Path $Root "$folder\service.json") -Raw | ConvertFrom-Json
            if ($count.restarts -ne 0) { throw "$folder counts $($count.restarts)" }
        }
        $true
    }
    Test-That 'a message goes all the way' { (Invoke-Broker @('smoke')).Code -eq 0 }
    exit [Math]::Min(1, $Failed)
}

Test-That 'all services run' { Test-Running }
foreach ($service in $Services) {
    Test-That "$service has its virtual account and a delayed start" {
        $config = Get-Sc 'qc' $service
        ($config -match [regex]::Escape("NT SERVICE\$service")) -and ($config -match 'DELAYED')
    }
    Test-That "$service is restarted after 5, 30 and 60 seconds, after an error exit too" {
        $actions = Get-Sc 'qfailure' $service
        ($actions -match '5000') -and ($actions -match '30000') -and ($actions -match '60000') -and
            ((Get-Sc 'qfailureflag' $service) -match 'TRUE|1')
    }
    Test-That "$service has a number of its own (sidtype)" { (Get-Sc 'qsidtype' $service) -match 'UNRESTRICTED' }
    Test-That "$service gets time at shutdown" {
        $wanted = if ($service -eq 'MessageBrokerWorker') { '70000' } else { '25000' }
        (Get-Sc 'qpreshutdown' $service) -match $wanted
    }
}
Test-That 'the worker waits for the scheduler and the local servers' {
    (Get-Service MessageBrokerWorker).ServicesDependedOn.Name -contains 'MessageBrokerScheduler'
}
Test-That 'a second installation changes nothing (rights are read back as they were set)' {
    $again = Invoke-Broker @('services', 'install', '--root', $Root)
    if ($again.Said -notmatch 'everything is as it has to be') { throw $again.Said }
    $true
}
Test-That 'wrong rights are seen and healed' {
    & icacls.exe (Join-Path $Root 'proxy') /grant '*S-1-1-0:(OI)(CI)F' /Q | Out-Null
    $healed = Invoke-Broker @('services', 'install', '--root', $Root)
    $list = & icacls.exe (Join-Path $Root 'proxy') | Out-String
    ($healed.Said -match 'rights corrected') -and ($list -notmatch 'Everyone|Jeder|Tout le monde')
}
Test-That 'nobody but administrators and main may read the CA key' {
    $acl = (Get-Acl (Join-Path $Root 'main_server\ca\ca.key')).Access | ForEach-Object {
        $_.IdentityReference.Translate([Security.Principal.SecurityIdentifier]).Value
    }
    $main = (& sc.exe showsid MessageBrokerMainServer | Select-String 'S-1-5-80-[\d-]+').Matches[0].Value
    -not ($acl | Where-Object { $_ -notin @('S-1-5-18', 'S-1-5-32-544', $main) })
}
Test-That 'services write to the event log under their own name' {
    $since = Get-Date
    Restart-Service MessageBrokerProxy -Force
    Wait-Until {
        Get-EventLog -LogName Application -Source 'MessageBrokerProxy' -After $since -ErrorAction SilentlyContinue
    } 30
}
Test-That 'a killed worker runs again by itself' {
    $service = Get-CimInstance Win32_Service -Filter "Name='MessageBrokerWorker'"
    Stop-Process -Id $service.ProcessId -Force
    Wait-Until {
        $now = Get-CimInstance Win32_Service -Filter "Name='MessageBrokerWorker'"
        $now.State -eq 'Running' -and $now.ProcessId -ne $service.ProcessId
    } 60
}
Test-That 'a role with wrong settings fails, says so in the event log, and runs again when they are right' {
    $file = Join-Path $Root 'proxy\.env'
    $good = [IO.File]::ReadAllBytes($file)
    $since = Get-Date
    try {
        [IO.File]::AppendAllText($file, "`r`nMAX_BODY_BYTES=many`r`n")
        Restart-Service MessageBrokerProxy -Force -ErrorAction SilentlyContinue
        $told = Wait-Until {
            Get-EventLog -LogName Application -Source 'MessageBrokerProxy' -After $since -EntryType Error -ErrorAction SilentlyContinue
        } 60
    } finally {
        [IO.File]::WriteAllBytes($file, $good)
    }
    $told -and (Wait-Until { (Get-Service MessageBrokerProxy).Status -eq 'Running' } 120)
}
Test-That 'a second process cannot take a port that a service has' {
    $env:DATA_DIR = Join-Path $Root 'proxy'
    try {
        $second = Invoke-Broker @('run', 'proxy')
    } finally {
        Remove-Item Env:DATA_DIR
    }
    if ($second.Said -notmatch 'is taken') { throw $second.Said }
    $second.Code -ne 0
}
foreach ($name in 'Message Broker - Main Server', 'Message Broker - Proxy', 'Message Broker - Portal', 'Message Broker - Metrics',
    'Block MySQL External', 'Block Redis External') {
    Test-That "the firewall has the rule '$name'" { $null -ne (Get-NetFirewallRule -DisplayName $name -ErrorAction SilentlyContinue) }
}
Test-That 'the old scripts run (deployment\tests\smoke_test.ps1)' {
    & powershell.exe -NoProfile -ExecutionPolicy Bypass -File (Join-Path $Root 'deployment\tests\smoke_test.ps1') | Out-Host
    $LASTEXITCODE -eq 0
}
Test-That 'the old batch files run (main_server\generate_cert.bat)' {
    $name = 'check-{0:HHmmss}' -f (Get-Date)
    & (Join-Path $Root 'main_server\generate_cert.bat') $name localhost 1 | Out-Host
    $LASTEXITCODE -eq 0 -and (Test-Path (Join-Path $Root "main_server\certs\$name.crt"))
}
Test-That 'the services stop and start in order' {
    $stopped = Invoke-Broker @('services', 'stop', '--root', $Root)
    $started = Invoke-Broker @('services', 'start', '--root', $Root)
    $stopped.Code -eq 0 -and $started.Code -eq 0
}
Test-That 'a message goes all the way' { (Invoke-Broker @('smoke')).Code -eq 0 }
Write-Host "By hand: Ctrl-C in 'messagebroker run scheduler' ends it at once and in order; Restart-Computer, then check.ps1 -AfterReboot."
exit [Math]::Min(1, $Failed)
