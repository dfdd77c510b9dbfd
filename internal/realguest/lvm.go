package realguest

import (
	"fmt"
	"strings"

	"github.com/stretchr/testify/require"
)

const (
	extent = 4 * mib // of the volume group
	first  = mib     // where the first extent of a physical volume is
)

// lvm makes the volume group vg0 with the volume root, linear on all physical volumes, puts
// the root on it and the physical volumes on the disk, without those that got lost.
func (b *builder) lvm() {
	b.Helper()
	var size int64
	if p := b.part("pv"); p != nil {
		size = p.size
	}
	n := b.guest.Disk.LVM
	extents := (size - first) / extent
	volumes := b.volumes(n, size, extents)
	file := b.file("root.fs", int64(n)*extents*extent)
	b.mkfsFile(b.guest.Disk.FS, "root", RootUUID, b.root, file)
	i := 0
	for _, p := range b.parts {
		if p.role != "pv" {
			continue
		}
		b.copyIn(volumes[i], p)
		b.copyAt(file, int64(i)*extents*extent, p.start+first, extents*extent)
		i++
	}
}

// volumes makes physical volumes of a size and returns their files. lvm2 writes nothing
// but metadata: the volume is never active here.
func (b *builder) volumes(n int, size, extents int64) (files []string) {
	b.Helper()
	all := n
	if b.guest.Disk.Lost == LostUnused {
		all++
	}
	for i := range all {
		files = append(files, b.file(fmt.Sprintf("pv%d", i), size))
	}
	script := `
		config='activation { udev_sync=0 udev_rules=0 } backup { backup=0 archive=0 } devices { use_devicesfile=0 }'
		size=$1 used=$2; shift 2
		loops=()
		trap 'losetup -d "${loops[@]}"' EXIT
		for file; do loops+=("$(losetup --find --show "$file")"); done
		list=$(IFS=,; echo "${loops[*]}")
		lvm() { command lvm "$1" --config "$config" --devices "$list" "${@:2}"; }
		lvm pvcreate --dataalignment 1m "${loops[@]}"
		lvm vgcreate --physicalextentsize 4m vg0 "${loops[@]}"
		lvm lvcreate --driverloaded n --activate n --zero n --wipesignatures n --extents "$size" --name root vg0 "${loops[@]:0:$used}"
		lvm pvs --noheadings --units b --nosuffix --options pe_start`
	out := b.sh(script, append([]string{itoa(int64(n) * extents), fmt.Sprint(n)}, files...)...)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Equal(b, itoa(first), strings.TrimSpace(lines[len(lines)-1]), "where the first extent is")
	return files
}
