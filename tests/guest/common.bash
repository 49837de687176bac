# Read by the scripts that build guests: packages from Debian, the memory file system that finds the disk, the disk.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${DWARFNOVA_GUEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dwarfnova/guest}

export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C TZ=UTC
# Every time stamp in the image, so that it depends on its contents alone.
export SOURCE_DATE_EPOCH=1700000000 E2FSPROGS_FAKE_TIME=1700000000

die() {
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}

need_programs() {
    local program
    for program; do
        command -v "$program" >/dev/null || die "$program is not installed: packaging/install-host-packages --test"
    done
}

usage() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
}

# Sets the folder "work", which goes when the script ends. Each builder runs once at a time.
begin() {
    need_programs dpkg-deb depmod cpio mkfs.vfat mcopy syslinux mke2fs sfdisk qemu-img flock
    for boot_file in /usr/lib/syslinux/mbr/mbr.bin /usr/lib/syslinux/modules/bios/ldlinux.c32; do
        [ -f "$boot_file" ] || die "$boot_file is not there: packaging/install-host-packages --test"
    done
    mkdir -p "$cache/packages" "$cache/images"
    exec 9>"$cache/lock-${0##*/}"
    flock 9
    work=$(mktemp -d "${TMPDIR:-/tmp}/dwarfnova-guest.XXXXXX")
    trap 'rm -rf "$work"' EXIT
}

# --- packages ------------------------------------------------------------------------------------------------------

# Prints the file names of the versions that apt knows now of Debian's cloud kernel and the packages named; fails when it
# does not know one of them.
wanted_files() {
    local kernel versions
    kernel=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
        sed -n 's/^ *Depends: \(linux-image-.*-cloud-amd64\)$/\1/p' | head -n 1)
    [ -n "$kernel" ] || return 1
    versions=$(apt-cache policy "$kernel" "$@" 2>/dev/null |
        awk '/^[^ ]/ { name = substr($0, 1, length($0) - 1) }
            $1 == "Candidate:" && $2 != "(none)" { gsub(/:/, "%3a", $2); print name "_" $2 "_amd64.deb" }')
    [ "$(wc -l <<<"$versions")" -eq $((1 + $#)) ] || return 1
    sort <<<"$versions"
}

all_cached() {
    local file
    [ -s "$1" ] || return 1
    while read -r file; do
        [ -s "$cache/packages/$file" ] || return 1
    done <"$1"
}

# Fetches what the cache lacks.
fetch() {
    local file name version
    while read -r file; do
        [ ! -s "$cache/packages/$file" ] || continue
        name=${file%%_*} version=${file#*_} version=${version%_amd64.deb} version=${version//%3a/:}
        (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$name=$version" >&2) || return 1
        mv "$work/$file" "$cache/packages/$file"
    done <"$1"
}

# Gets the cloud kernel and the packages named into the cache, and their file names into $work/packages.
get_packages() {
    local list=$work/packages known
    # One list for each set of names.
    known=$cache/packages-$(sha256sum <<<"$*" | cut -c 1-12)
    # Asking apt costs more than all the rest, so what it said is believed for a day.
    if [ -n "$(find "$known" -mmin -1440 2>/dev/null)" ] && all_cached "$known"; then
        cp "$known" "$list"
    elif wanted_files "$@" >"$list" && fetch "$list"; then
        cp "$list" "$known"
    elif [ "$(id -u)" -eq 0 ] && apt-get -qq update && wanted_files "$@" >"$list" && fetch "$list"; then
        cp "$list" "$known"
    elif all_cached "$known"; then
        cp "$known" "$list"
    else
        die 'the Debian packages are not to be had: does apt-get update work?'
    fi
}

# Prints all that an image depends on besides its builder: packages, programs, and the files named.
inputs() {
    cat "$work/packages"
    dpkg-query -W -f '${Package} ${Version}\n' kmod cpio dosfstools mtools syslinux syslinux-common e2fsprogs qemu-utils
    (
        cd "$here"
        find common.bash initramfs "$@" -type f -printf '%p %m\n' | sort
        find common.bash initramfs "$@" -type f -print0 | sort -z | xargs -0 sha256sum
    )
}

# deliver IMAGE TARGET
deliver() {
    cp --reflink=auto "$1" "$2.part"
    mv "$2.part" "$2"
}

# --- kernel and memory file system ---------------------------------------------------------------------------------

# Unpacks the kernel package into a folder, and sets "kernel" (its release) and "modules" (their folder).
unpack_kernel() {
    dpkg-deb -x "$cache/packages/$(grep '^linux-image-' "$work/packages")" "$1"
    kernel=$(basename "$1"/lib/modules/*)
    modules=$1/lib/modules/$kernel
    depmod -b "$1" "$kernel"
}

# Prints the modules named and all they need, each after what it needs.
with_dependencies() {
    awk -v wanted="$*" '
        function visit(name,    n, i, needs) {
            if (name in done) return
            done[name] = 1
            n = split(dependencies[name], needs, " ")
            for (i = n; i >= 1; i--) visit(base(needs[i]))
            print path[name]
        }
        function base(file) { sub(/.*\//, "", file); sub(/\.ko$/, "", file); gsub(/-/, "_", file); return file }
        {
            file = $1; sub(/:$/, "", file); name = base(file); path[name] = file
            $1 = ""; dependencies[name] = $0
        }
        END {
            n = split(wanted, names, " ")
            for (i = 1; i <= n; i++) {
                name = names[i]; gsub(/-/, "_", name)
                if (!(name in path)) { print "no module " names[i] > "/dev/stderr"; exit 1 }
                visit(name)
            }
        }' "$modules/modules.dep"
}

disk_modules=(virtio_pci virtio_blk virtio_scsi sd_mod sr_mod ata_piix ata_generic crc32c_intel)

# Makes $work/initrd with the busybox given, which has to be static.
make_initrd() {
    local busybox=$1 initramfs=$work/initramfs program path
    mkdir -p "$initramfs"/{bin,dev,proc,sys,root,modules}
    cp "$here/initramfs/init" "$initramfs/init"
    "$busybox" --list | while read -r program; do
        ln -s busybox "$initramfs/bin/$program"
    done
    rm -f "$initramfs/bin/busybox"
    cp "$busybox" "$initramfs/bin/busybox"
    with_dependencies "${disk_modules[@]}" >"$work/disk-modules"
    while read -r path; do
        cp "$modules/$path" "$initramfs/modules/"
        basename "$path"
    done <"$work/disk-modules" >"$initramfs/modules/order"
    chmod -R u=rwX,go=rX "$initramfs"
    find "$initramfs" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    # Not compressed: the emulated processor would take longer over that than the disk takes over the size.
    (cd "$initramfs" && find . | sort | cpio --quiet --reproducible -o -H newc -R 0:0) >"$work/initrd"
}

# --- the disk ------------------------------------------------------------------------------------------------------

# Makes an ext4 file system of so many MiB from a folder. The room for growing is reserved: to 1 TiB.
# make_filesystem FILE MIB FOLDER
make_filesystem() {
    truncate -s "${2}M" "$1"
    mke2fs -q -F -t ext4 -b 4096 -I 256 -J size=4 -m 0 -L dwarfnova-root -U 64776172-666e-6f76-6100-000000000001 \
        -E hash_seed=64776172-666e-6f76-6100-000000000002,root_owner=0:0,resize=268435456 -d "$3" "$1"
}

# Makes a disk that boots by BIOS: a small partition with syslinux, the kernel and $work/initrd, and the root file system.
# make_disk TARGET.qcow2 FILESYSTEM KERNEL_FILE [KERNEL ARGUMENT...]
make_disk() {
    local target=$1 filesystem=$2 kernel_file=$3
    shift 3
    local boot_start_mib=1 boot_mib=23 boot=$work/boot.img disk=$work/disk.raw root_start_mib root_mib
    root_start_mib=$((boot_start_mib + boot_mib))
    root_mib=$(($(stat -c %s "$filesystem") / 1048576))
    truncate -s "${boot_mib}M" "$boot"
    mkfs.vfat --invariant -F 16 -n DWARFNOVA -i 44574152 -h $((boot_start_mib * 2048)) "$boot" >/dev/null
    cat >"$work/syslinux.cfg" <<CONFIGURATION
DEFAULT linux
PROMPT 0
TIMEOUT 0
LABEL linux
  LINUX /vmlinuz
  INITRD /initrd
  APPEND console=tty0 console=ttyS0,115200 quiet loglevel=4 panic=10 mitigations=off nokaslr no_timer_check random.trust_cpu=on $*
CONFIGURATION
    cp "$kernel_file" "$work/vmlinuz"
    touch -d "@$SOURCE_DATE_EPOCH" "$work/vmlinuz" "$work/initrd" "$work/syslinux.cfg"
    mcopy -m -i "$boot" "$work/vmlinuz" "$work/initrd" "$work/syslinux.cfg" ::/
    syslinux --install "$boot"
    truncate -s $((root_start_mib + root_mib))M "$disk"
    sfdisk --quiet "$disk" <<TABLE
label: dos
label-id: 0x64776172
start=${boot_start_mib}MiB, size=${boot_mib}MiB, type=e, bootable
start=${root_start_mib}MiB, type=83
TABLE
    dd if=/usr/lib/syslinux/mbr/mbr.bin of="$disk" bs=440 count=1 conv=notrunc status=none
    dd if="$boot" of="$disk" bs=1M seek=$boot_start_mib conv=notrunc,sparse status=none
    dd if="$filesystem" of="$disk" bs=1M seek=$root_start_mib conv=notrunc,sparse status=none
    qemu-img convert -f raw -O qcow2 -c "$disk" "$target.part"
    mv "$target.part" "$target"
}
