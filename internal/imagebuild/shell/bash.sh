# Run as bash -c '. "$1"' SCRIPT THIS TRACE, by any version from 3.2 on: carries out SCRIPT
# as it stands, with the lines that failed written to TRACE. It is read from a file, since 3.2
# counts functions that come from a command line wrongly.
case $- in *x*) set +x; outrigger_x=-x ;; *) outrigger_x= ;; esac
set +o posix
outrigger_trace=$2
set --
# A record: what happened, exit code, depth of subshells, the shell's flags, the command,
# then the lines on the way there, innermost first.
outrigger_note() {
	local i=1 way=
	while [ "$i" -lt "${#BASH_SOURCE[@]}" ]; do
		way=$way$'\037'${BASH_SOURCE[$i]}:${BASH_LINENO[$((i - 1))]}
		i=$((i + 1))
	done
	printf '%s\037%s\037%s\037%s\037%s%s\036' "$1" "$2" "$BASH_SUBSHELL" "$-" "$3" "$way" >>"$outrigger_trace"
} 2>/dev/null
exit() {
	local code=$?
	if [ "$#" -gt 0 ]; then code=$1; fi
	case $code in
	0) ;;
	*) outrigger_note exit "$code" "exit${1+ $1}" || : ;;
	esac
	builtin exit "$code"
}
# Without -e nothing ends here. It is of use all the same where it may be the last command, but
# in 3.2 whatever a trap runs is seen in the script's PIPESTATUS.
trap 'case $-$BASH_VERSION in *e*[0-9]* | *[4-9].* | *[1-9][0-9].*) outrigger_note fail "$?" "$BASH_COMMAND" || : ;; esac' ERR
set -eE $outrigger_x
. "$0"
