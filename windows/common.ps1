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

# PowerShell 5.1 hands "C:\Some Folder\" to programs with its last quote escaped, and .NET counts from another folder.
function Get-FullPath([string]$Path) {
    if (-not $Path) { return '' }
    return $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Path).TrimEnd('\')
}

# Below C:\ every user of the machine may write, and whoever made a folder may always change who else does: before anything is
# put there it belongs to administrators, and nobody else may do anything. The services' rights are given later.
function Protect-Folder([string]$Folder) {
    if (-not (Test-Path $Folder)) { New-Item -ItemType Directory -Path $Folder | Out-Null }
    Invoke-Program 'icacls.exe' @($Folder, '/setowner', '*S-1-5-32-544', '/Q')
    Invoke-Program 'icacls.exe' @($Folder, '/reset', '/Q')
    Invoke-Program 'icacls.exe' @($Folder, '/inheritance:r', '/grant:r', '*S-1-5-18:(OI)(CI)F', '*S-1-5-32-544:(OI)(CI)F', '/Q')
}

function Test-Release([string]$Folder) {
    $python = Join-Path $Folder 'Scripts\python.exe'
    if (-not (Test-Path $python)) { return $false }
    & $python -I -m messagebroker version | Out-Null
    return ($LASTEXITCODE -eq 0)
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

function Get-SourceVersion([string]$Source) {
    $line = Select-String -Path (Join-Path $Source 'pyproject.toml') -Pattern '^version\s*=\s*"([^"]+)"' | Select-Object -First 1
    return $line.Matches[0].Groups[1].Value
}

function New-ReleaseName([string]$Source) {
    return '{0}-{1:yyyyMMddHHmmss}' -f (Get-SourceVersion $Source), [DateTime]::UtcNow
}

function Get-ReleasePython([string]$Root) {
    $release = Get-ReleaseInUse $Root
    if (-not $release) { throw "There is no installation in $Root; windows\install.ps1 makes one." }
    return (Join-Path $Root "releases\$release\Scripts\python.exe")
}
