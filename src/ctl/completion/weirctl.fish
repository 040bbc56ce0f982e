# SPDX-License-Identifier: MIT
# fish completion of weirctl: commands out of its help, names out of the running weir.

function __weirctl_commands
    weirctl --help 2>/dev/null | string match -rg '^  ([a-z]+)\b.*?  +(\S.*)$' | paste - -
end

# The words before the cursor without options: the command first.
function __weirctl_words
    set -l is_value no
    for word in (commandline -opc)[2..]
        if test $is_value = yes
            set is_value no
        else if contains -- $word -s --socket -H --header --phase --window --seconds --since --step --client --name --weight --nodes --token-file --password-file
            set is_value yes
        else if not string match -q -- '-*' $word
            printf '%s\n' $word
        end
    end
end

function __weirctl_needs_command
    test (count (__weirctl_words)) -eq 0
end

# Whether one of these commands waits for its first argument.
function __weirctl_needs_argument
    set -l words (__weirctl_words)
    test (count $words) -eq 1; and contains -- $words[1] $argv
end

# Whether it is mark and has its name.
function __weirctl_marks
    set -l words (__weirctl_words)
    test (count $words) -eq 2; and test $words[1] = mark
end

# The socket that the line names, if any.
function __weirctl_socket
    set -l words (commandline -opc)
    for i in (seq 2 (count $words))
        switch $words[$i]
            case -s --socket
                set -q words[(math $i + 1)]; and printf '%s\n' -s $words[(math $i + 1)]
            case '--socket=*'
                printf '%s\n' -s (string replace -- --socket= '' $words[$i])
            case '-s?*'
                printf '%s\n' -s (string sub -s 3 -- $words[$i])
        end
    end
end

function __weirctl_names
    weirctl (__weirctl_socket) $argv 2>/dev/null | awk 'NR > 1 && $2 != "is" {print $1}'
end

complete -c weirctl -f
complete -c weirctl -n __weirctl_needs_command -a '(__weirctl_commands)'
complete -c weirctl -n '__weirctl_needs_argument drain maintenance enable weight remove' -a '(__weirctl_names backends)'
complete -c weirctl -n '__weirctl_needs_argument histogram history reset' -a '(__weirctl_names pools; __weirctl_names backends)'
complete -c weirctl -n __weirctl_marks -a '(__weirctl_names pools; __weirctl_names backends)'
complete -c weirctl -n '__weirctl_needs_argument backends scaling slow add' -a '(__weirctl_names pools)'
complete -c weirctl -s s -l socket -r -F -d 'status socket of weir'
complete -c weirctl -l nodes -x -a shared -d 'ask all of these'
complete -c weirctl -l all -d 'change every node'
complete -c weirctl -l token-file -r -F -d 'token of the others'
complete -c weirctl -l password-file -r -F -d 'name and password for the others'
complete -c weirctl -l json -d 'print JSON'
complete -c weirctl -s w -l watch -d 'repeat'
complete -c weirctl -s h -l help -d 'help'
complete -c weirctl -s V -l version -d 'version'
complete -c weirctl -l phase -x -a 'queue connect wait transfer client self total'
complete -c weirctl -l window -x -a '10s 1m 5m start'
complete -c weirctl -l seconds -x -d 'how far back'
complete -c weirctl -l since -x -a '-1h -1d -2d -7d -30d' -d 'how far back in what is stored'
complete -c weirctl -l step -x -a '1m 15m 1h 6h 1d' -d 'how much makes a line'
complete -c weirctl -l read-only -d 'change nothing'
complete -c weirctl -l wait -d 'until nothing is in flight'
complete -c weirctl -s f -l follow -d 'go on'
complete -c weirctl -s H -l header -x -d 'header of the request'
complete -c weirctl -l client -x -d 'address of the client'
complete -c weirctl -l name -x -d 'name of the backend'
complete -c weirctl -l weight -x -d 'its share'
