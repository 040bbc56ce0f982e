# SPDX-License-Identifier: MIT
# fish completion of weir.

function __weir_strategies
    weir --schema 2>/dev/null | string join '' |
        string match -rg '"balance": *\{[^}]*"enum": *\[([^]]*)\]' | string split , | string trim -c ' "'
end

complete -c weir -f
complete -c weir -s c -r -F -d configuration
complete -c weir -s t -d 'test the configuration'
complete -c weir -s T -d 'test it and print it with all defaults'
complete -c weir -l schema -d 'print the JSON Schema'
complete -c weir -s v -l version -d version
complete -c weir -s V -d 'version with libraries'
complete -c weir -s h -l help -d help
complete -c weir -l listen -x -d 'accept clients here'
complete -c weir -l backend -x -d 'send them here'
complete -c weir -l balance -x -a '(__weir_strategies)' -d strategy
complete -c weir -l status-bind -x -d 'status and metrics over TCP'
complete -c weir -l status-socket -r -F -d 'status socket'
complete -c weir -n __fish_use_subcommand -a init -d 'write a configuration for this machine'
complete -c weir -n '__fish_seen_subcommand_from init' -F
