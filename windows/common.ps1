# What the scripts beside this one share. They only find programs and call them; decisions are made in Python.

function Assert-Server {
    $identity = [Security.Principal.WindowsIdentity]::GetCurrent()
    $principal = New-Object Security.Principal.WindowsPrincipal $identity
    if (-not $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)) {
        throw "This needs an administrator: open PowerShell with 'Run as administrator' and start it again."
    }
    if ([Environment]::OSVersion.Version.Build -lt 17763) {
        throw 'This Windows is older than Windows Server 2019 (build 17763): use Windows Server 2019, 2022 or newer.'
    }
    if (-not [Environment]::Is64BitProcess) {
        throw 'This is the 32-bit PowerShell: start the one without (x86) in its name.'
    }
}

function Invoke-Program([string]$Program, [string[]]$Words) {
    & $Program @Words
    if ($LASTEXITCODE -ne 0) {
        throw "$Program ended with $LASTEXITCODE; what it said is above. Correct that and run this script again."
    }
}

function Find-Python([string]$Given) {
    $candidates = @()
    if ($Given) {
        $candidates += $Given
    } else {
        $candidates += Get-ChildItem "$env:ProgramFiles\Python3*\python.exe" -ErrorAction SilentlyContinue |
            Sort-Object { [int]($_.Directory.Name -replace '\D', '') } | ForEach-Object { $_.FullName }
        $found = Get-Command python.exe -ErrorAction SilentlyContinue
        if ($found -and $found.Source -notlike '*\WindowsApps\*') { $candidates += $found.Source }
    }
    foreach ($candidate in $candidates) {
        & $candidate -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) and sys.maxsize > 2**32 else 1)'
        if ($LASTEXITCODE -eq 0) { return $candidate }
    }
    throw ('There is no Python 3.11 or newer (64 bits) here. Install it from https://www.python.org/downloads/windows/ ' +
        "with 'Install Python for all users', or name one with -Python. Looked at: $($candidates -join ', ')")
}

# Below C:\ every user of the machine may write; nobody but administrators may before the services' rights are given.
function New-ProtectedFolder([string]$Folder) {
    if (Test-Path $Folder) { return }
    New-Item -ItemType Directory -Path $Folder | Out-Null
    Invoke-Program 'icacls.exe' @($Folder, '/inheritance:r', '/grant:r', '*S-1-5-18:(OI)(CI)F', '*S-1-5-32-544:(OI)(CI)F')
}

function Get-ReleaseInUse([string]$Root) {
    $note = Join-Path $Root 'releases\current.txt'
    if (Test-Path $note) { return (Get-Content $note -TotalCount 1).Trim() }
    return ''
}

function Set-ReleaseInUse([string]$Root, [string]$Release) {
    $note = Join-Path $Root 'releases\current.txt'
    [IO.File]::WriteAllText($note, "$Release`r`n")
}

function New-ReleaseName([string]$Source) {
    $line = Select-String -Path (Join-Path $Source 'pyproject.toml') -Pattern '^version\s*=\s*"([^"]+)"' | Select-Object -First 1
    return '{0}-{1:yyyyMMddHHmmss}' -f $line.Matches[0].Groups[1].Value, [DateTime]::UtcNow
}

function Get-ReleasePython([string]$Root) {
    $release = Get-ReleaseInUse $Root
    if (-not $release) { throw "There is no installation in $Root; windows\install.ps1 makes one." }
    return (Join-Path $Root "releases\$release\Scripts\python.exe")
}
