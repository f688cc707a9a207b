#Requires -Version 5.1
<#
.SYNOPSIS
Installs or upgrades Posthouse on a Linux server, from Windows 10 or 11.

.DESCRIPTION
Packs the program in this folder with tar, copies it to the server with scp, and has ssh run the same systemd/install.sh
there that an operator on the server would run. It needs what Windows brings: tar, scp, ssh, and Windows PowerShell 5.1
or PowerShell 7. Config, database and secrets are the server's own; none is sent or read.

.PARAMETER Target
user@host: root, or a user who may use sudo without a password. The host may be an alias of your ssh config.

.PARAMETER Port
The server's ssh port, where it is not the one of your ssh config, or 22.

.PARAMETER IdentityFile
The private key to sign in with. Without it ssh takes your usual keys, or asks for a password, three times.

.PARAMETER Listen
At the first installation: where it listens, if not at port 80, such as 8080 or 127.0.0.1:8080.

.PARAMETER Rollback
Back to the release before this one.

.PARAMETER Status
Shows what runs on the server, and changes nothing.

.EXAMPLE
.\deploy.ps1 -Target root@203.0.113.7

.EXAMPLE
powershell -ExecutionPolicy Bypass -File .\deploy.ps1 -Target deploy@bot.example.org -Port 2222 -WhatIf
#>

# Rule 1: what the server can decide is decided there, by the lines below; the tests run those very lines.
# Rule 2: no word for a program has a double quote in it or a backslash at its end: Windows PowerShell hands those on
#         wrongly. Programs run in a temporary folder and get names in it alone, so that no path (C:, spaces, Chinese)
#         can trouble them: some take C:\x for a file on the host C. Only the private key comes with its path.
# Rule 3: nothing binary passes through PowerShell, which would read it as text.
# Rule 4: Invoke-Program alone starts programs and looks at their exit codes; Get-Complaint makes the sentence of one.

[CmdletBinding(SupportsShouldProcess = $true, DefaultParameterSetName = 'Deploy')]
param(
    [Parameter(Mandatory = $true, Position = 0)]
    [string] $Target,
    [ValidateRange(1, 65535)]
    [int] $Port,
    [string] $IdentityFile,
    [Parameter(ParameterSetName = 'Deploy')]
    [string] $Listen,
    [Parameter(Mandatory = $true, ParameterSetName = 'Rollback')]
    [switch] $Rollback,
    [Parameter(Mandatory = $true, ParameterSetName = 'Status')]
    [switch] $Status
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# What a release consists of; to go back or to look, install.sh itself is enough. Nothing here is an operator's own.
$WholeProgram = @('bot', 'daemon', 'proxy', 'static', 'systemd', 'docs', 'requirements.txt', 'LICENSE')
$InstallerAlone = @('systemd')

# What is run here: a name, the program, its words. A {word} that stands alone may become several words, or none.
$Lines = @'
port -o Port={number}
identity -i {file} -o IdentitiesOnly=yes
connection -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 {port} {identity}
pack tar -c -z -f bundle.tar.gz --exclude __pycache__ --exclude screenshots -C bundle .
prepare ssh -n -T -E ssh.log {connection} {target} sh -c '{prepare}'
copy scp {connection} bundle.tar.gz {target}:{folder}/
run ssh -n -T -E ssh.log {connection} {target} sh -c '{run}'
clean ssh -n -T -E ssh.log {connection} {target} rm -rf {folder}
'@

# What sh does there: one line when it is sent, without quotes, backslashes and exclamation marks, so that every login
# shell hands it on as it stands. Its own exit codes are those of $Refusals; every other one is install.sh's.
$AsRoot = @'
as_root() { case $(id -u) in 0) $@;; *) sudo -n $@;; esac; };
'@

# What an earlier run had to leave, because its line was cut at the wrong moment, goes after a day.
$Prepare = @'
set -efu; export LC_ALL=C;
{as_root}
if as_root true; then :; else exit 91; fi;
t=${TMPDIR:-/tmp};
if as_root find $t -maxdepth 1 -type d -name posthouse-deploy.* -user $(id -u) -mtime +0 -exec rm -rf {} +; then :; fi;
if d=$(mktemp -d $t/posthouse-deploy.XXXXXXXXXX); then :; else exit 92; fi;
set -- $(df -Pk $d | tail -n 1);
if [ $4 -lt {kilobytes} ]; then rmdir $d; exit 92; fi;
echo folder $d
'@

# Windows knows no modes, and may give scripts the CRLF with which they do not run. `tee -p` goes on when nobody listens
# any more, so a connection that breaks does not break an installation under way.
$Run = @'
set -efu; umask 022; export LC_ALL=C; exec 2>&1;
{as_root}
clean() { cd /; as_root rm -rf {folder}; };
trap clean EXIT;
cd {folder};
case $(sha256sum bundle.tar.gz) in {sha256}*) ;; *) exit 93;; esac;
as_root mkdir tree;
if as_root tar -x -z -f bundle.tar.gz -C tree --no-same-owner --no-same-permissions; then :; else exit 92; fi;
as_root find tree/systemd -type f -exec sed -i s/[[:cntrl:]]*$// {} +;
{ if as_root sh tree/systemd/install.sh {action} 2>&1; then echo 0 >code; else echo $? >code; fi; } | tee -p /dev/null;
exit $(cat code)
'@

$Refusals = @{
    91 = 'That user is not root there, and may not be without a password (what sudo said stands above). Sign in as ' +
        'root, or give the user a file in /etc/sudoers.d with the line:  USER ALL=(root) NOPASSWD: ALL'
    92 = 'There is no room on the server for the bundle, or no folder for temporary files (TMPDIR, else /tmp). Look ' +
        'there with  df -h  and make room, then run this again.'
    93 = 'The bundle arrived damaged or in part, so it was not unpacked. Run this again.'
}

# What ssh writes when there is no connection, and what to do then: the first that its log has.
$NoConnection = @(
    @{ Says = 'IDENTIFICATION HAS CHANGED'
       Then = 'The server shows another host key than this computer remembers. If you installed the server anew, ' +
           'forget the old one and run this again:  ssh-keygen -R {known}  If not, somebody may stand in between.' }
    @{ Says = 'Host key verification failed'
       Then = 'The host key was not confirmed. Run this again, and answer yes if the fingerprint is the server''s.' }
    @{ Says = 'UNPROTECTED PRIVATE KEY FILE'
       Then = 'Others may read your private key, so ssh does not take it. Move it to the folder .ssh of your own.' }
    @{ Says = 'Too many authentication failures'
       Then = 'ssh offered more keys than the server wants to see. Name the right one with -IdentityFile.' }
    @{ Says = 'Permission denied'
       Then = 'The server lets nobody in by that name and key. Is the user right, does .ssh/authorized_keys there ' +
           'have your public key, and does -IdentityFile name the private one?' }
    @{ Says = 'Could not resolve hostname'
       Then = 'There is no server of that name. Is it spelled right, and is this computer online?' }
    @{ Says = 'Connection refused'
       Then = 'Nothing answers at that port. Does ssh listen at another (-Port), or does a firewall refuse you?' }
    @{ Says = 'timed out|unreachable|No route to host'
       Then = 'The server did not answer. Is the address right, is this computer online, and does the provider''s ' +
           'firewall let the port in?' }
    @{ Says = 'reset|closed'
       Then = 'The connection was cut. Run this again in a minute; if it stays so, look for a firewall in between, ' +
           'or for one on the server that shuts you out (fail2ban).' }
)

function Get-ToolPath([string] $Name) {
    # Windows' own first, for rule 2. Sysnative is what a 32-bit PowerShell has to call System32.
    if ($env:SystemRoot) {
        foreach ($folder in 'Sysnative\OpenSSH', 'Sysnative', 'System32\OpenSSH', 'System32') {
            $path = Join-Path -Path $env:SystemRoot -ChildPath "$folder\$Name.exe"
            if (Test-Path -LiteralPath $path -PathType Leaf) { return $path }
        }
    }
    $found = @(Get-Command -Name $Name -CommandType Application -ErrorAction SilentlyContinue)
    if ($found.Count -gt 0) { return $found[0].Source }
    if ($Name -eq 'tar') { throw 'There is no tar here. Windows 10 has it from version 1803 on: update Windows.' }
    throw ("There is no $Name here. Install it: Settings, Apps, Optional features, OpenSSH Client. Or as " +
        'administrator: Add-WindowsCapability -Online -Name OpenSSH.Client~~~~0.0.1.0')
}

function Expand-Text([string] $Text, [hashtable] $Values) {
    $filled = @($Text -split '\r?\n' | ForEach-Object { $_.Trim() }) -join ' '
    foreach ($name in $Values.Keys) { $filled = $filled.Replace("{$name}", [string]$Values[$name]) }
    $filled
}

function Expand-Line([string] $Name, [hashtable] $Values) {
    $line = @($Lines -split '\r?\n' | Where-Object { $_.StartsWith("$Name ") })[0]
    foreach ($word in @($line -split ' ' | Select-Object -Skip 1)) {
        $whole = $word.Trim('{', '}')
        if ($word -eq "{$whole}" -and $Values.ContainsKey($whole)) { $Values[$whole] }
        else { Expand-Text -Text $word -Values $Values }
    }
}

function Get-Complaint([string] $Step, [int] $ExitCode, [string[]] $Said, [hashtable] $Values) {
    $server = $Values.target
    $code = "exit code $ExitCode"
    $nothing = 'Nothing was changed there.'
    if ($Step -eq 'pack') { return "tar could not pack the bundle ($code; its words stand above). Is this disk full?" }
    if ($Step -eq 'copy') {
        return "The bundle did not get to ${server}: scp ended with $code, its words stand above. If the disk there " +
            "is full (df -h), make room; if the connection broke, run this again. $nothing"
    }
    if ($Refusals.ContainsKey($ExitCode)) { return "${server}: $($Refusals[$ExitCode]) $nothing" }
    if ($ExitCode -eq 255) {
        $log = ''
        if (Test-Path -LiteralPath 'ssh.log') { $log = @(Get-Content -LiteralPath 'ssh.log') -join "`n" }
        if ($Step -eq 'run') {
            return "The connection to $server broke when install.sh was to run; what runs there goes on to its end. " +
                "Wait a minute, then look with -Status. ssh said:`n$log"
        }
        $fitting = @($NoConnection | Where-Object { $log -match $_.Says }) + @{ Then = 'Try ssh alone.' }
        $advice = Expand-Text -Text $fitting[0].Then -Values $Values
        return "No connection to $server. $advice $nothing ssh said:`n$log"
    }
    if ($Step -eq 'run') {
        # What is indented are other programs' words, and among them, the first time, the new tokens.
        $words = @($Said | Where-Object { $_ -notmatch '^\s' } | Select-Object -Last 5) -join "`n"
        return "install.sh on $server ended with $code. Its last words:`n$words"
    }
    "$server did not do as it was told ($Step ended with $code; its words stand above). Is it Linux with sh? $nothing"
}

function Invoke-Program([string] $Step, [hashtable] $Values) {
    $words = @(Expand-Line -Name $Step -Values $Values)
    $tool = Get-ToolPath -Name $words[0]
    $rest = @($words | Select-Object -Skip 1)
    $said = New-Object -TypeName 'System.Collections.Generic.List[string]'
    Write-Verbose -Message ($words -join ' ')
    # Where stderr is redirected, Windows PowerShell makes an error of each line on it, and PowerShell 7 can be told to
    # make one of an exit code. Here the exit code decides; what cannot be started leaves none, hence the 127.
    $ErrorActionPreference = 'Continue'
    $PSNativeCommandUseErrorActionPreference = $false
    $global:LASTEXITCODE = 127
    & $tool $rest | ForEach-Object { $said.Add([string]$_); $_ }
    if ($LASTEXITCODE -ne 0) {
        throw (Get-Complaint -Step $Step -ExitCode $LASTEXITCODE -Said ($said.ToArray()) -Values $Values)
    }
}

function Copy-Release([string[]] $Parts, [hashtable] $Values) {
    # Copied first, for rule 2, and because OneDrive fetches a file only when it is read.
    foreach ($part in $Parts) {
        Copy-Item -LiteralPath (Join-Path -Path $PSScriptRoot -ChildPath $part) -Destination 'bundle' -Recurse
    }
    Invoke-Program -Step 'pack' -Values $Values
    $kilobytes = [int][Math]::Ceiling((Get-Item -LiteralPath 'bundle.tar.gz').Length / 1024.0)
    $Values.kilobytes = 10 * $kilobytes # the bundle, what comes out of it, and some to spare
    $Values.sha256 = (Get-FileHash -LiteralPath 'bundle.tar.gz' -Algorithm SHA256).Hash.ToLowerInvariant()

    Write-Host "Signing in to $($Values.target) ..."
    $Values.prepare = Expand-Text -Text $Prepare -Values $Values
    $said = @(Invoke-Program -Step 'prepare' -Values $Values)
    # A login shell may have spoken too. And the name goes into `rm -rf`, so it must be what was asked for.
    $named = @($said | Where-Object { $_ -match '^folder /[A-Za-z0-9/._-]*posthouse-deploy\.[A-Za-z0-9]{10}\z' })
    if ($named.Count -ne 1) { throw "$($Values.target) named no folder for the bundle. It said: $said" }
    $Values.folder = $named[0].Split(' ')[1]

    Write-Host "Copying $kilobytes KB ..."
    $copied = $false
    try {
        Invoke-Program -Step 'copy' -Values $Values
        $copied = $true
    }
    finally {
        # Not in a catch, which Ctrl-C does not come to. Once copied, the folder is the server's to remove.
        if (-not $copied) {
            try { Invoke-Program -Step 'clean' -Values $Values }
            catch { Write-Host "$($Values.folder) is left on the server; a deployment after a day removes it." }
        }
    }
}

try {
    if ($Target -notmatch '^[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9._-]*\z') {
        throw "-Target: expected user@host, such as root@203.0.113.7, got '$Target'. A port goes into -Port."
    }
    $values = @{
        target = $Target; known = $Target.Split('@')[1]; port = @(); identity = @()
        as_root = $AsRoot; action = 'install'
    }
    if ($PSBoundParameters.ContainsKey('Port')) {
        $values.port = @(Expand-Line -Name 'port' -Values @{ number = $Port })
        $values.known = "[$($values.known)]:$Port"
    }
    if ($IdentityFile) {
        $file = $PSCmdlet.GetUnresolvedProviderPathFromPSPath($IdentityFile)
        if (-not (Test-Path -LiteralPath $file -PathType Leaf)) {
            throw "-IdentityFile: there is no file $file. It should be your private key, such as .ssh\id_ed25519."
        }
        $values.identity = @(Expand-Line -Name 'identity' -Values @{ file = $file })
    }
    $values.connection = @(Expand-Line -Name 'connection' -Values $values)

    $parts = $WholeProgram
    $deed = "install or upgrade Posthouse from $PSScriptRoot"
    if ($Listen) {
        if ($Listen -notmatch '^[A-Za-z0-9./:[\]_-]+\z') {
            throw "-Listen: expected a port or an address with one, such as 127.0.0.1:8080, got '$Listen'."
        }
        $values.action = "install --listen $Listen"
    }
    if ($Rollback) { $values.action = 'rollback'; $parts = $InstallerAlone; $deed = 'go back to the release before' }
    if ($Status) { $values.action = 'status'; $parts = $InstallerAlone; $deed = 'show what runs' }
    foreach ($part in $parts) {
        if (-not (Test-Path -LiteralPath (Join-Path -Path $PSScriptRoot -ChildPath $part))) {
            throw "There is no $part beside deploy.ps1. Run it in a whole copy of the project."
        }
    }
    foreach ($name in 'tar', 'scp', 'ssh') { $null = Get-ToolPath -Name $name }

    if ($PSCmdlet.ShouldProcess($Target, $deed)) {
        $ConfirmPreference = 'None' # that was the question; -Confirm would ask again at each file
        $unique = [guid]::NewGuid().ToString('N')
        $folder = Join-Path -Path ([System.IO.Path]::GetTempPath()) -ChildPath "posthouse-$unique"
        $null = [System.IO.Directory]::CreateDirectory((Join-Path -Path $folder -ChildPath 'bundle'))
        Push-Location -LiteralPath $folder
        try {
            Copy-Release -Parts $parts -Values $values
            $values.run = Expand-Text -Text $Run -Values $values
            Invoke-Program -Step 'run' -Values $values
        }
        finally {
            Pop-Location
            Remove-Item -LiteralPath $folder -Recurse -Force -ErrorAction SilentlyContinue
        }
    }
}
catch {
    $Host.UI.WriteErrorLine("deploy.ps1: $($_.Exception.Message)")
    exit 1
}
