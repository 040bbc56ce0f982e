# SPDX-License-Identifier: MIT
# fish completion of weirctl: commands out of its help, names out of the running weir.

function __weirctl_commands
    weirctl --help 2>/dev/null | string match -rg '^  ([a-z]+)\b.*?  +(\S.*)$' | paste - -
end

function __weirctl_names
    weirctl $argv 2>/dev/null | awk 'NR > 1 && $2 != "is" {print $1}'
end

complete -c weirctl -f
complete -c weirctl -n __fish_use_subcommand -a '(__weirctl_commands)'
complete -c weirctl -n '__fish_seen_subcommand_from drain maintenance enable weight remove' -a '(__weirctl_names backends)'
complete -c weirctl -n '__fish_seen_subcommand_from histogram history' -a '(__weirctl_names pools; __weirctl_names backends)'
complete -c weirctl -n '__fish_seen_subcommand_from backends scaling slow add' -a '(__weirctl_names pools)'
complete -c weirctl -s s -l socket -r -F -d 'status socket of weir'
complete -c weirctl -l json -d 'print JSON'
complete -c weirctl -s w -l watch -d 'repeat'
complete -c weirctl -s h -l help -d 'help'
complete -c weirctl -s V -l version -d 'version'
complete -c weirctl -l phase -x -a 'queue connect wait transfer client self total'
complete -c weirctl -l window -x -a '10s 1m 5m start'
complete -c weirctl -l seconds -x -d 'how far back'
complete -c weirctl -l read-only -d 'change nothing'
