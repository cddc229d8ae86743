# Run as zsh -c '. "$1"' SCRIPT THIS TRACE SCRIPT: carries out SCRIPT as it stands, with the lines
# that failed written to TRACE. The records are those of bash.sh.
case $- in *x*) set +x; outrigger_x=-x ;; *) outrigger_x= ;; esac
outrigger_trace=$2 outrigger_script=$3
set --
outrigger_note() {
	emulate -L zsh
	local f way=
	for f in $funcfiletrace; do way=$way$'\037'$f; done
	printf '%s\037%s\037%s\037%s\037%s%s\036' "$1" "$2" "$ZSH_SUBSHELL" "$3" "$4" "$way" >>$outrigger_trace
} 2>/dev/null
exit() {
	local code=$?
	if [ "$#" -gt 0 ]; then code=$1; fi
	case $code in
	0) ;;
	*) outrigger_note exit "$code" "$-" "exit${1+ $1}" || : ;;
	esac
	builtin exit "$code"
}
trap 'outrigger_note fail "$?" "$-" "" || :' ZERR
set -e $outrigger_x
. "$outrigger_script"
