package guest

import (
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

const (
	maxConfig = 1 << 20 // bytes of one configuration file
	maxLines  = 20000
)

// mount is a line of fstab.
type mount struct {
	spec, dir, kind string
	options         []string
	pass            int // of fsck; 0 for none
	line            int
	text            string
}

const fstabPath = "etc/fstab"

func readFstab(t *vfs.Tree) (list []mount) {
	for i, line := range lines(t, fstabPath) {
		f := strings.Fields(line)
		if len(f) < 3 || strings.HasPrefix(f[0], "#") {
			continue
		}
		m := mount{spec: unescapeOctal(f[0]), dir: unescapeOctal(f[1]), kind: f[2], line: i + 1, text: strings.TrimSpace(line)}
		if len(f) > 3 {
			m.options = strings.Split(f[3], ",")
		}
		if len(f) > 5 {
			m.pass, _ = strconv.Atoi(f[5])
		}
		list = append(list, m)
	}
	return list
}

// lines reads a configuration file; one that cannot be read has none.
func lines(t *vfs.Tree, name string) []string {
	p, err := t.ReadSmall(name, maxConfig)
	if err != nil {
		return nil
	}
	list := strings.Split(strings.ReplaceAll(string(p), "\r\n", "\n"), "\n")
	return list[:min(len(list), maxLines)]
}

// maxFiles bounds how many files of one directory are looked at. Configuration has
// a handful; a hostile directory names one file half a million times.
const maxFiles = 2000

// list lists a directory; one that cannot be read has nothing.
func (e *exam) list(dir string) []fs.DirEntry {
	if e.ctx.Err() != nil {
		return nil
	}
	all, _ := e.tree.ReadDir(dir)
	return all[:min(len(all), maxFiles)]
}

// unescapeOctal resolves \040 and its like.
func unescapeOctal(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func (m mount) has(option string) bool { return slices.Contains(m.options, option) }

// option reports whether an option begins with a prefix.
func (m mount) option(prefix string) bool {
	return slices.ContainsFunc(m.options, func(o string) bool { return strings.HasPrefix(o, prefix) })
}

func (m mount) bind() bool {
	return m.has("bind") || m.has("rbind") || m.kind == "none"
}

// optional reports whether a guest boots without it.
func (m mount) optional() bool {
	return m.has("noauto") || m.has("nofail") || m.has("nobootwait") || m.option("x-systemd.automount") || m.has("comment=systemd.automount")
}

// network reports whether it is a file system of another machine.
func (m mount) network() bool {
	return m.has("_netdev") || slices.Contains([]string{"nfs", "nfs4", "cifs", "smbfs", "smb3", "ceph", "glusterfs", "fuse.sshfs",
		"fuse.glusterfs", "lustre", "gfs2", "ocfs2", "9p", "virtiofs", "davfs", "ncpfs", "afs"}, m.kind) || strings.HasPrefix(m.spec, "//")
}

// device reports whether it is on a block device.
func (m mount) device() bool {
	return !m.network() && !m.bind() && (strings.HasPrefix(m.spec, "/dev/") || strings.Contains(m.spec, "=")) &&
		!strings.HasPrefix(m.spec, "/dev/loop") && !strings.HasPrefix(m.spec, "/dev/ram") && !strings.HasPrefix(m.spec, "/dev/zram") &&
		m.spec != "/dev/root" && m.kind != "tmpfs" && m.kind != "devtmpfs" && m.kind != "proc"
}

// removable reports whether it is a drive whose medium may be missing.
func (m mount) removable() bool {
	return strings.HasPrefix(m.spec, "/dev/fd") || strings.HasPrefix(m.spec, "/dev/cdrom") || strings.HasPrefix(m.spec, "/dev/sr") ||
		strings.HasPrefix(m.spec, "/dev/scd") || m.kind == "iso9660" || m.kind == "udf,iso9660" || m.kind == "udf"
}

// Names that depend on how a disk is attached.
var (
	driveName = regexp.MustCompile(`^/dev/((?:sd|hd|xvd|vd|ubd)[a-z]+)(\d*)$|^/dev/((?:nvme\d+n|mmcblk|cciss/c\d+d|ida/c\d+d|rd/c\d+d)\d+)p?(\d*)$`)
	pathName  = regexp.MustCompile(`^/dev/disk/by-(path|id|diskseq)/`)
)

// firstDisk is the end of the names of a machine's first disk.
var firstDisk = regexp.MustCompile(`^[a-z]*da$|^nvme0n1$|^mmcblk0$|c0d0$`)

// partitionNumber returns the number of the partition of the first disk that a
// name such as /dev/sda2 means.
func partitionNumber(spec string) (int, bool) {
	m := driveName.FindStringSubmatch(spec)
	if m == nil || !firstDisk.MatchString(m[1]+m[3]) {
		return 0, false
	}
	n, err := strconv.Atoi(m[2] + m[4])
	return n, err == nil
}

// Stability of a device's name.
type stability int

const (
	stable   stability = iota // says what is on the device
	virtual                   // a virtio disk, as the cloud attaches it
	unstable                  // depends on the machine
)

// nameStability classifies the name of a device.
func nameStability(spec string) stability {
	if m := driveName.FindStringSubmatch(spec); m != nil {
		if strings.HasPrefix(m[1], "vd") {
			return virtual
		}
		return unstable
	}
	if pathName.MatchString(spec) && !strings.HasPrefix(spec, "/dev/disk/by-id/dm-") && !strings.HasPrefix(spec, "/dev/disk/by-id/lvm-") &&
		!strings.HasPrefix(spec, "/dev/disk/by-id/md-") {
		if strings.Contains(spec, "/virtio-pci-") {
			return virtual
		}
		return unstable
	}
	return stable
}
