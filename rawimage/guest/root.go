package guest

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/fastimage/fastimage/rawimage/guest/internal/probe"
	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
	"github.com/fastimage/fastimage/rawimage/guest/internal/volume"
)

// windowsHive is what makes a volume the root of a Windows.
const windowsHive = "Windows/System32/config/SYSTEM"

// findRoot finds the volume that holds the guest's root file system. If there are
// several, a boot loader's default decides.
func (e *exam) findRoot() error {
	var why []error
	var roots []*volume.Volume
	for _, v := range e.vols.Volumes {
		if !v.Readable() {
			continue
		}
		f, err := v.FS()
		if err != nil {
			why = append(why, fmt.Errorf("%s: %w", v.Name, err))
			continue
		}
		tree := vfs.NewTree(f)
		switch {
		case v.Type != "ntfs" && v.Type != "vfat" && isRoot(tree):
			roots = append(roots, v)
		case v.Type == "ntfs" && isFile(tree, windowsHive) && e.win == nil:
			e.setRoot(v)
			e.win = &windows{}
		}
		if _, err := tree.ReadDir("."); err != nil {
			why = append(why, fmt.Errorf("%s: %w", v.Name, err))
		}
	}
	if len(roots) > 0 {
		e.win = nil
		e.setRoot(e.booted(roots))
	}
	if e.root == nil {
		return e.noRoot(why)
	}
	return nil
}

func (e *exam) setRoot(v *volume.Volume) {
	if f, err := v.FS(); err == nil {
		e.root, e.tree = v, vfs.NewTree(f)
	}
}

// booted returns the one of several roots that a boot loader's default entry
// names, the first if none is named.
func (e *exam) booted(roots []*volume.Volume) *volume.Volume {
	if len(roots) == 1 {
		return roots[0]
	}
	for _, r := range roots {
		e.setRoot(r)
		e.mountAll()
		if entry := e.findEntry(); entry != nil {
			if v, _ := e.vols.Find(rootSpec(entry.Options)); slices.Contains(roots, v) {
				return v
			}
		}
	}
	return roots[0]
}

// isRoot reports whether a file system is the root of a Linux: it has /etc, and
// what is needed to run something.
func isRoot(t *vfs.Tree) bool {
	for _, p := range []string{"etc/os-release", "usr/lib/os-release", "etc/fstab", "etc/redhat-release", "etc/debian_version",
		"etc/SuSE-release", "etc/alpine-release", "etc/passwd"} {
		if _, err := t.Lstat(p); err == nil {
			for _, p := range []string{"sbin/init", "usr/sbin/init", "bin/sh", "usr/bin", "lib/systemd", "usr"} {
				if _, err := t.Lstat(p); err == nil {
					return true
				}
			}
		}
	}
	return false
}

// noRoot says why no root was found: the first of what hides it.
func (e *exam) noRoot(why []error) error {
	for _, v := range e.vols.Volumes {
		switch {
		case v.Encrypted():
			return fmt.Errorf("%s is encrypted (%s)", v.Name, v.Type)
		case slices.Contains([]string{probe.ZFS, "btrfs", "ReFS", "bcachefs", "f2fs", "jfs", "reiserfs", "squashfs", "erofs", "ufs", "hfsplus"}, v.Type):
			return fmt.Errorf("%s has the file system %s, which is not read", v.Name, v.Type)
		case v.Err != nil:
			return fmt.Errorf("%s: %w", v.Name, v.Err)
		}
	}
	if len(e.vols.Problems) > 0 {
		return e.vols.Problems[0]
	}
	if e.vols.Truncated != nil {
		return e.vols.Truncated
	}
	if len(why) > 0 {
		return why[0]
	}
	return errors.New("no operating system was found")
}

func isFile(t *vfs.Tree, name string) bool {
	i, err := t.Stat(name)
	return err == nil && i.Mode().IsRegular()
}

func isDir(t *vfs.Tree, name string) bool {
	i, err := t.Stat(name)
	return err == nil && i.IsDir()
}

func exists(t *vfs.Tree, name string) bool {
	_, err := t.Stat(name)
	return err == nil
}

// mountAll mounts what fstab names and can be read. A file system with a boot
// loader's files that fstab does not name is mounted all the same, where such
// files belong.
func (e *exam) mountAll() {
	e.mounts = map[string]*volume.Volume{"/": e.root}
	e.fstab = readFstab(e.tree)
	ms := slices.Clone(e.fstab)
	slices.SortStableFunc(ms, func(a, b mount) int { return strings.Count(a.dir, "/") - strings.Count(b.dir, "/") })
	for _, m := range ms {
		if !strings.HasPrefix(m.dir, "/") || m.dir == "/" || m.bind() {
			continue
		}
		v, _ := e.vols.Find(m.spec)
		if v == nil {
			v = e.byDeviceName(m.spec)
		}
		if v == nil || v == e.root {
			continue
		}
		if f, err := v.FS(); err == nil {
			e.tree.Mount(m.dir, f)
			e.mounts[path.Clean(m.dir)] = v
		}
	}
	for _, v := range e.vols.Volumes {
		e.mountUnnamed(v)
	}
}

// mountUnnamed mounts a volume that looks like a boot or EFI system partition, if
// none is mounted.
func (e *exam) mountUnnamed(v *volume.Volume) {
	f, err := v.FS()
	if err != nil || v == e.root || e.isMounted(v) {
		return
	}
	t := vfs.NewTree(f)
	switch {
	case isDir(t, "EFI") && (v.Type == "vfat") && e.mounts["/boot/efi"] == nil && e.mounts["/efi"] == nil && e.mounts["/boot"] == nil:
		at := "/boot/efi"
		if isDir(t, "loader/entries") && !exists(e.tree, "boot/grub/grub.cfg") && !exists(e.tree, "boot/grub2/grub.cfg") {
			at = "/boot"
		}
		e.tree.Mount(at, f)
		e.mounts[at] = v
	case v.Type != "vfat" && e.mounts["/boot"] == nil && !isRoot(t) &&
		(exists(t, "grub2/grub.cfg") || exists(t, "grub/grub.cfg") || exists(t, "grub/grub.conf") || exists(t, "grub/menu.lst") || exists(t, "extlinux.conf")):
		e.tree.Mount("/boot", f)
		e.mounts["/boot"] = v
	}
}

func (e *exam) isMounted(v *volume.Volume) bool {
	for _, m := range e.mounts {
		if m == v {
			return true
		}
	}
	return false
}

// byDeviceName guesses which partition a name such as /dev/sda2 means: the one of
// that number.
func (e *exam) byDeviceName(spec string) *volume.Volume {
	n, ok := partitionNumber(spec)
	if !ok {
		return nil
	}
	for _, v := range e.vols.Volumes {
		if v.Partition != nil && v.Partition.Number == n {
			return v
		}
	}
	return nil
}
