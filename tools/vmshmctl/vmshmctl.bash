# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Completion of vmshmctl's command line in bash: commands, options of the
# command that was given, and the names of members and segments, which the
# daemon is asked for.

# _vmshmctl_names QUESTION EXPRESSION: what an answer has under these keys
_vmshmctl_names() {
	timeout 2 "${COMP_WORDS[0]}" "${_vmshmctl_socket[@]}" --json "$1" 2>/dev/null |
		sed -n "s/^    *\"$2\": \"\\([^\"]*\\)\",*\$/\\1/p" | sort -u
}

_vmshmctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} command="" kind="" i words options
	local _vmshmctl_socket=()

	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s | --socket) _vmshmctl_socket=(-s "${COMP_WORDS[++i]}") ;;
		-c | --config | -i | -n) ((i++)) ;;
		-*) ;;
		*)
			if [[ -z $command ]]; then
				command=${COMP_WORDS[i]}
			elif [[ -z $kind ]]; then
				kind=${COMP_WORDS[i]}
			fi
			;;
		esac
	done
	options="--socket= --config= --json"
	case $command in
	kick) options+=" --segment=" ;;
	drain) options+=" --segment= --timeout= --undo" ;;
	add)
		options+=" --owner= --group= --mode="
		[[ $kind != member ]] || options+=" --cid= --host"
		[[ $kind == member ]] || options+=" --name= --size= --vectors= --shared --huge-pages --thp --numa-node="
		;;
	rings) options+=" --each" ;;
	top) options+=" --interval= --count=" ;;
	libvirt-xml) options+=" --domain" ;;
	esac
	case $command in
	"") words="status members couples rings top add remove kick drain reload check version libvirt-xml qemu-args" ;;
	members | kick | drain | libvirt-xml | qemu-args) words=$(_vmshmctl_names members name) ;;
	rings) words=$(_vmshmctl_names members name; _vmshmctl_names couples segment) ;;
	couples) words=$(_vmshmctl_names couples segment) ;;
	add) if [[ -z $kind ]]; then words="member couple segment"; else words=$(_vmshmctl_names members name); fi ;;
	remove)
		if [[ -z $kind ]]; then
			words="member couple segment"
		elif [[ $kind == segment ]]; then
			words=$(_vmshmctl_names couples segment)
		else
			words=$(_vmshmctl_names members name)
		fi
		;;
	*) words="" ;;
	esac
	[[ $cur != -* ]] || words=$options
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	[[ ${COMPREPLY[0]:-} != *= ]] || compopt -o nospace 2>/dev/null
}

complete -F _vmshmctl vmshmctl
