# Common to all builds of the stand-in: the machine's own tools on PATH, inputs before them, then the phases.
# Debian's Nix builds unsandboxed; a machine that sandboxes fails here, at once.
set -eu -o pipefail
shopt -s nullglob

machine=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
PATH=
for input in ${nativeBuildInputs:-} ${buildInputs:-}; do
  [ -d "$input/bin" ] && PATH=$PATH$input/bin:
done
PATH=$PATH$machine
export PATH HOME=${HOME:-/homeless-shelter} TMPDIR=${TMPDIR:-$NIX_BUILD_TOP} SOURCE_DATE_EPOCH=1 LC_ALL=C.UTF-8
unset machine input
cd "$NIX_BUILD_TOP"

runHook() { # a phase's hook: the environment variable or function of that name
  if declare -F "$1" >/dev/null; then "$1"; elif [ -n "${!1:-}" ]; then eval "${!1}"; fi
}
runPhase() { # the phase as given, else the default one
  if [ -n "${!1:-}" ]; then eval "${!1}"; else "$1"; fi
}
unpackPhase() {
  runHook preUnpack
  if [ -n "${src:-}" ]; then
    if [ -d "$src" ]; then
      cp -r "$src" source
      chmod -R u+w source
      cd "${sourceRoot:-source}"
    else
      tar xf "$src"
      set -- */
      cd "${sourceRoot:-$1}"
    fi
  fi
  runHook postUnpack
}
patchPhase() {
  runHook prePatch
  local one
  for one in ${patches:-}; do patch -p1 <"$one"; done
  runHook postPatch
}
configurePhase() {
  runHook preConfigure
  if [ -z "${dontConfigure:-}" ] && [ -x ./configure ]; then ./configure --prefix="$out" ${configureFlags:-}; fi
  runHook postConfigure
}
buildPhase() {
  runHook preBuild
  if [ -z "${dontBuild:-}" ] && [ -e Makefile ]; then make ${makeFlags:-}; fi
  runHook postBuild
}
checkPhase() {
  runHook preCheck
  if [ -e Makefile ]; then make check ${makeFlags:-}; fi
  runHook postCheck
}
installPhase() {
  runHook preInstall
  if [ -z "${dontInstall:-}" ] && [ -e Makefile ]; then make install ${makeFlags:-}; fi
  runHook postInstall
}
fixupPhase() {
  runHook preFixup
  runHook postFixup
}
genericBuild() {
  local phase
  for phase in ${phases:-unpackPhase patchPhase configurePhase buildPhase checkPhase installPhase fixupPhase}; do
    [ "$phase" = checkPhase ] && [ -z "${doCheck:-}" ] && continue
    [ "$phase" = unpackPhase ] && [ -n "${dontUnpack:-}" ] && continue
    runPhase "$phase"
  done
}
substituteInPlace() { # FILE… --replace[-fail|-warn|-quiet] OLD NEW…; --replace-fail is an error where OLD is not there
  local files=() file text
  while [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; do files+=("$1"); shift; done
  while [ $# -gt 0 ]; do
    for file in "${files[@]}"; do
      text=$(cat "$file"; printf .)
      text=${text%.}
      case $1 in
        --replace-fail) [[ $text == *"$2"* ]] || { echo "substituteInPlace: $2 is not in $file" >&2; return 1; } ;;
        --replace | --replace-warn | --replace-quiet) ;;
        *) echo "substituteInPlace: unknown option $1" >&2; return 1 ;;
      esac
      printf %s "${text//"$2"/"$3"}" >"$file"
    done
    shift 3
  done
}
