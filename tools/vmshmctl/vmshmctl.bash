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

# The words up to the cursor as vmshmctl will have them, in the array words: bash splits
# --option=value at the "=", and others at what else COMP_WORDBREAKS has.
_vmshmctl_words() {
	local rest=$COMP_LINE trimmed i

	for ((i = 0; i <= COMP_CWORD; i++)); do
		trimmed=${rest#"${rest%%[![:space:]]*}"}
		if ((i)) && [[ $trimmed == "$rest" ]]; then
			words[-1]+=${COMP_WORDS[i]}
		else
			words+=("${COMP_WORDS[i]}")
		fi
		rest=${trimmed#"${COMP_WORDS[i]}"}
	done
}

_vmshmctl() {
	local command="" kind="" i cur options list before=""
	local words=() _vmshmctl_socket=()

	_vmshmctl_words
	cur=${words[-1]}
	for ((i = 1; i < ${#words[@]} - 1; i++)); do
		case ${words[i]} in
		-s | --socket) _vmshmctl_socket=(-s "${words[++i]}") ;;
		--socket=*) _vmshmctl_socket=(-s "${words[i]#*=}") ;;
		-c | --config | -i | --interval | -n | --count | --segment | --timeout) ((i++)) ;;
		--cid | --name | --size | --vectors | --numa-node | --owner | --group | --mode) ((i++)) ;;
		-*) ;;
		*)
			if [[ -z $command ]]; then
				command=${words[i]}
			elif [[ -z $kind ]]; then
				kind=${words[i]}
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
	"") list="status members couples rings top add remove kick drain reload check version libvirt-xml qemu-args" ;;
	members | kick | drain | libvirt-xml | qemu-args) list=$(_vmshmctl_names members name) ;;
	rings) list=$(_vmshmctl_names members name; _vmshmctl_names couples segment) ;;
	couples) list=$(_vmshmctl_names couples segment) ;;
	add) if [[ -z $kind ]]; then list="member couple segment"; else list=$(_vmshmctl_names members name); fi ;;
	remove)
		if [[ -z $kind ]]; then
			list="member couple segment"
		elif [[ $kind == segment ]]; then
			list=$(_vmshmctl_names couples segment)
		else
			list=$(_vmshmctl_names members name)
		fi
		;;
	*) list="" ;;
	esac
	case $cur in
	--*=*)
		# What bash puts in the place of the value alone, if it takes it for a word.
		[[ $COMP_WORDBREAKS == *=* ]] || before=${cur%%=*}=
		case $cur in
		--socket=* | --config=*)
			mapfile -t COMPREPLY < <(compgen -P "$before" -f -- "${cur#*=}")
			compopt -o filenames 2>/dev/null
			return
			;;
		--segment=*) list=$(_vmshmctl_names couples segment) ;;
		*) list="" ;;
		esac
		cur=${cur#*=}
		;;
	-*) list=$options ;;
	esac
	mapfile -t COMPREPLY < <(compgen -P "$before" -W "$list" -- "$cur")
	[[ ${COMPREPLY[0]:-} != *= ]] || compopt -o nospace 2>/dev/null
}

complete -F _vmshmctl vmshmctl
