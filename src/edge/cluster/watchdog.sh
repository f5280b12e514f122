# Ends a private cluster whose owner died without a word, and removes its folder.
#
#   sh watchdog.sh FOLDER GRACE      (run from memory; FOLDER/data is the data folder, or a link to it)
#
# The owner holds the other end of our input. A line there means that it has cleaned up; the end of input
# means that it is gone. GRACE is how many tenths of a second a postmaster may still need to appear.
# A number alone proves nothing: the system gives it to another process some day, and a data folder that is
# kept may have a next owner already. So we signal only what works in the data folder and, by its own file,
# on the socket in our folder.

folder=$1
grace=$2
trap '' HUP INT TERM
if read -r _; then exit 0; fi

# Whether the process works in the data folder.
is_ours() {
    if [ -d /proc/self ]; then
        [ "/proc/$1/cwd" -ef "$folder/data" ]
    else
        case $(ps -o command= -p "$1") in
        *"-D $(cd "$folder/data" && pwd -P)"*) ;;
        *) return 1 ;;
        esac
    fi
}

# Reads the postmaster's file: its number in line 1, its socket's folder in line 5.
find_postmaster() {
    {
        read -r pid && read -r _ && read -r _ && read -r _ && IFS= read -r socket
    } 2>/dev/null <"$folder/data/postmaster.pid" || return 1
    case $pid in '' | *[!0-9]*) return 1 ;; esac
    [ "$socket" = "$folder" ] && is_ours "$pid"
}

until find_postmaster || [ "$grace" -le 0 ]; do
    grace=$((grace - 1))
    sleep 0.1
done

if find_postmaster; then
    kill -CONT "$pid"
    kill -QUIT "$pid"
    patience=100
    while is_ours "$pid" && [ "$patience" -gt 0 ]; do
        patience=$((patience - 1))
        sleep 0.1
    done
    if is_ours "$pid"; then kill -KILL "$pid"; fi
fi

# What was killed in the middle of something may still write for a moment.
patience=50
until rm -rf "$folder" 2>/dev/null || [ "$patience" -le 0 ]; do
    patience=$((patience - 1))
    sleep 0.1
done
