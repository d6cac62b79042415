# The API as a service of Windows, by WinSW (https://github.com/winsw/winsw, MIT): WinSW-x64.exe lies beside this
# script as news-api.exe. In PowerShell as administrator, in the repository's folder:
#   py -m venv .venv; .venv\Scripts\pip install -r requirements-serve.txt
#   deploy\windows-service.ps1                        # installs and starts it; -Remove takes it away
# A model elsewhere, or a key: -Environment @{NEWS_MODEL = 'D:\models\student.onnx'; NEWS_API_KEY = '...'}
param(
    [string] $Arguments = "--host 127.0.0.1 --port 8004",
    [hashtable] $Environment = @{},
    [switch] $Remove
)
$ErrorActionPreference = "Stop"
$service = Join-Path $PSScriptRoot "news-api.exe"
if (-not (Test-Path $service)) { throw "$service is missing: download WinSW-x64.exe and name it so" }
if ($Remove) { & $service stop; & $service uninstall; exit }

$root = Split-Path $PSScriptRoot
$escape = { param($text) [System.Security.SecurityElement]::Escape($text) }
$variables = @{ PYTHONUTF8 = "1"; ORT_DISABLE_TELEMETRY = "1" } + $Environment
$lines = $variables.GetEnumerator() | ForEach-Object { "  <env name=`"$(& $escape $_.Key)`" value=`"$(& $escape $_.Value)`"/>" }
# Ctrl-C, which api.py answers what it has accepted before, is what WinSW ends a console program with.
@"
<service>
  <id>news-api</id>
  <name>News title classifier API</name>
  <description>Chinese news title classifier, HTTP API</description>
  <executable>$(& $escape (Join-Path $root ".venv\Scripts\python.exe"))</executable>
  <arguments>api.py $(& $escape $Arguments)</arguments>
  <workingdirectory>$(& $escape $root)</workingdirectory>
  <stoptimeout>15 sec</stoptimeout>
  <onfailure action="restart" delay="2 sec"/>
  <log mode="roll-by-size"><sizeThreshold>10240</sizeThreshold><keepFiles>5</keepFiles></log>
$($lines -join "`n")
</service>
"@ | Set-Content (Join-Path $PSScriptRoot "news-api.xml") -Encoding UTF8
& $service install
& $service start
