package guest

import (
	"io/fs"
	"slices"
	"time"
)

// Status is the outcome of a check.
type Status string

// Outcomes of checks, from good to bad; StatusUnknown is none.
const (
	StatusOK      Status = "ok"      // as the cloud needs it
	StatusNote    Status = "note"    // works, and has a consequence worth knowing
	StatusUnknown Status = "unknown" // could not be examined: the summary says why
	StatusWarn    Status = "warn"    // boots, and lacks something that most users want
	StatusFail    Status = "fail"    // does not boot, or has no network
)

// Firmware is what starts a server.
type Firmware string

// Firmware of servers.
const (
	FirmwareAuto Firmware = ""     // whatever the disk is made for
	FirmwareBIOS Firmware = "bios" // x86 only
	FirmwareUEFI Firmware = "uefi" // the only one on arm
)

// Report is what an examination found.
type Report struct {
	// Examined reports whether the guest's root file system could be read. If not,
	// Reason says why, and only what could be learned without it is filled in.
	Examined bool   `json:"examined"`
	Reason   string `json:"reason,omitempty"` // "could not be examined: " and why

	OS           OS            `json:"os"`
	Kernel       string        `json:"kernel,omitempty"`       // version of the kernel that boots by default
	Architecture string        `json:"architecture,omitempty"` // as uname -m has it: "x86_64", "i686", "aarch64"
	Firmware     []Firmware    `json:"firmware,omitempty"`     // that can start the disk
	Root         Volume        `json:"root"`                   // where the root file system is
	BootLoader   BootLoader    `json:"boot_loader"`
	Volumes      []Volume      `json:"volumes,omitempty"` // partitions, arrays and logical volumes
	VolumeGroups []VolumeGroup `json:"volume_groups,omitempty"`
	Findings     []Finding     `json:"findings"` // one for each check, in a fixed order
	Reads        Reads         `json:"reads"`

	files fs.FS
}

// OS is the operating system of a guest.
type OS struct {
	Type    string   `json:"type,omitempty"`    // "linux" or "windows"
	ID      string   `json:"id,omitempty"`      // as in os-release: "debian", "rhel"; "windows"
	IDLike  []string `json:"id_like,omitempty"` // as in os-release
	Name    string   `json:"name,omitempty"`    // "CentOS Linux"
	Version string   `json:"version,omitempty"` // "7.9.2009": as exact as the guest knows it
	Edition string   `json:"edition,omitempty"` // of Windows: "ServerStandard"
	Build   string   `json:"build,omitempty"`   // of Windows: "17763"
	Pretty  string   `json:"pretty,omitempty"`  // for people: "Debian GNU/Linux 12 (bookworm)"
}

// String returns the name for people.
func (o OS) String() string {
	switch {
	case o.Name == "" && o.Pretty == "":
		return o.Type
	case o.Name == "" || o.Version == "":
		return o.Pretty
	}
	return o.Name + " " + o.Version
}

// Volume is a range of the disk that can hold a file system.
type Volume struct {
	Name  string `json:"name,omitempty"`  // "partition 2", "md0", "centos/root"; "disk" without a partition table
	Size  int64  `json:"size,omitempty"`  // bytes
	Type  string `json:"type,omitempty"`  // as blkid names it: "ext4", "xfs", "LVM2_member"; "" if unknown
	UUID  string `json:"uuid,omitempty"`  // of the file system
	Label string `json:"label,omitempty"` // of the file system
	Mount string `json:"mount,omitempty"` // where the guest mounts it
}

// VolumeGroup is a volume group of LVM2.
type VolumeGroup struct {
	Name            string   `json:"name"`
	PhysicalVolumes int      `json:"physical_volumes"`  // that the group consists of
	Missing         []string `json:"missing,omitempty"` // those that are not on the disk
	Volumes         []string `json:"volumes"`           // names of logical volumes
}

// BootLoader is what starts the kernel.
type BootLoader struct {
	Type    string `json:"type,omitempty"`    // "GRUB 2", "GRUB legacy", "systemd-boot", "extlinux"
	Config  string `json:"config,omitempty"`  // path of its configuration
	Title   string `json:"title,omitempty"`   // of the default entry
	Kernel  string `json:"kernel,omitempty"`  // path of the default entry's kernel
	Initrd  string `json:"initrd,omitempty"`  // path of its initramfs
	Options string `json:"options,omitempty"` // the kernel's command line
}

// Reads is what an examination cost.
type Reads struct {
	Requests int64         `json:"requests"` // reads of the disk
	Bytes    int64         `json:"bytes"`
	Duration time.Duration `json:"duration"` // nanoseconds
}

// Finding is the outcome of one check.
type Finding struct {
	Check    string     `json:"check"`              // stable name: see the package documentation
	Status   Status     `json:"status"`             // the worst of what the check found
	Summary  string     `json:"summary"`            // one sentence without a period
	Evidence []Evidence `json:"evidence,omitempty"` // where it was found
	Fix      string     `json:"fix,omitempty"`      // what to do in the guest before its disk becomes an image
	Guide    string     `json:"guide"`              // section of the service's user guide that asks for it
}

// Evidence is a place in the guest.
type Evidence struct {
	Path string `json:"path"`           // absolute, in the guest; or the name of a volume
	Line int    `json:"line,omitempty"` // counted from 1; 0 for no line
	Text string `json:"text,omitempty"` // the line, or what is there
}

// FS returns the guest's root with everything that it mounts from the same disk,
// nil if the guest could not be examined. It also implements fs.StatFS, fs.ReadDirFS,
// fs.ReadFileFS and fs.ReadLinkFS. Symbolic links are resolved inside the guest.
// It reads from the disk that was examined, without the examination's limits.
func (r *Report) FS() fs.FS { return r.files }

// Ready reports whether a server made from the image will boot and have a network:
// the guest was examined, no check failed, and none that decides about it is
// unknown.
func (r *Report) Ready() bool {
	return r.Examined && r.Count(StatusFail) == 0 && !slices.ContainsFunc(r.Findings, func(f Finding) bool {
		return f.Status == StatusUnknown && slices.Contains(decisive, f.Check)
	})
}

// decisive are the checks without whose answer nothing can be said about booting.
var decisive = []string{"boot-loader", "root-device", "initramfs-virtio", "initramfs-root", "virtio-net", "missing-devices", "dhcp", "windows-virtio-disk", "windows-virtio-net"}

// Count returns how many checks ended with a status.
func (r *Report) Count(s Status) (n int) {
	for _, f := range r.Findings {
		if f.Status == s {
			n++
		}
	}
	return n
}

// Finding returns the outcome of a check, and whether the check was made.
func (r *Report) Finding(check string) (Finding, bool) {
	for _, f := range r.Findings {
		if f.Check == check {
			return f, true
		}
	}
	return Finding{}, false
}
