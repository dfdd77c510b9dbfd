package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/fastimage/fastimage/rawimage/guest/internal/bootcfg"
	"github.com/fastimage/fastimage/rawimage/guest/internal/initramfs"
	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

// kernel is the kernel that boots, and what it finds before it has a root.
type kernel struct {
	version string
	path    string            // "" if the file was not found
	initrd  []string          // those that were found
	missing []string          // files that the boot loader names and that are not there
	builtin map[string]bool   // modules that are part of the kernel
	files   map[string]string // other modules of it: path in the guest by name
	deps    map[string][]string
	known   bool // builtin can be relied on
	loaded  bool // content and err are set
	content *initramfs.Content
	err     error
}

// bootFacts finds what the boot loader starts.
func (e *exam) bootFacts() {
	r := e.report
	if e.entry = e.findEntry(); e.boot != nil {
		r.BootLoader.Type, r.BootLoader.Config = e.boot.Loader, absolute(e.boot.Path)
	}
	k := &e.kernel
	if e.entry != nil {
		k.path = e.locate(e.entry, e.entry.Kernel)
		for _, name := range e.entry.Initrd {
			if p := e.locate(e.entry, name); p != "" {
				k.initrd = append(k.initrd, p)
			} else {
				k.missing = append(k.missing, name)
			}
		}
		r.BootLoader.Title, r.BootLoader.Options = clip(e.entry.Title), e.entry.Options
	}
	k.version = e.kernelVersion()
	if e.entry == nil {
		e.guessKernel()
	}
	r.Kernel, r.BootLoader.Kernel, r.BootLoader.Initrd = k.version, absolute(k.path), k.where()
	e.modules()
}

// findEntry finds the boot loader's configuration and its default entry, nil if
// there is none.
func (e *exam) findEntry() *bootcfg.Entry {
	e.firmwareFacts()
	can := e.report.Firmware
	efi := e.opts.firmware == FirmwareUEFI ||
		e.opts.firmware == FirmwareAuto && !slices.Contains(can, FirmwareBIOS) && slices.Contains(can, FirmwareUEFI)
	if e.boot = bootcfg.Find(e.tree, efi); e.boot == nil {
		return nil
	}
	return e.boot.Entry()
}

// locate finds a file that the boot loader names, on the file system that it
// looks on.
func (e *exam) locate(entry *bootcfg.Entry, name string) string {
	if strings.HasPrefix(name, "(") {
		_, name, _ = strings.Cut(name, ")")
	}
	name = strings.Trim(path.Clean("/"+name), "/")
	var list []string
	for at, v := range e.mounts {
		if entry.FSUUID != "" && strings.EqualFold(v.UUID, entry.FSUUID) {
			list = append(list, path.Join(at, name))
		}
	}
	for _, at := range []string{"/boot", "/", "/boot/efi", "/efi"} {
		if e.mounts[at] != nil {
			list = append(list, path.Join(at, name))
		}
	}
	list = append(list, path.Join("/boot", path.Base(name)))
	for _, p := range list {
		if p = strings.Trim(p, "/"); isFile(e.tree, p) {
			return p
		}
	}
	return ""
}

// kernelVersion tells the version by the name of the kernel's file, or by what the
// file itself says.
func (e *exam) kernelVersion() string {
	if e.kernel.path == "" && (e.entry == nil || e.entry.Kernel == "") {
		return ""
	}
	base := path.Base(e.kernel.path)
	if e.kernel.path == "" {
		base = path.Base(e.entry.Kernel)
	}
	for _, prefix := range []string{"vmlinuz-", "vmlinux-", "bzImage-", "Image-", "kernel-", "linux-", "zImage-"} {
		if v, ok := strings.CutPrefix(base, prefix); ok && isDir(e.tree, "lib/modules/"+v) {
			return v
		}
	}
	if v := bzImageVersion(e.tree, e.kernel.path); v != "" {
		return v
	}
	if dirs := e.moduleDirs(); len(dirs) == 1 {
		return dirs[0]
	}
	for _, v := range e.moduleDirs() { // Arch: the package that a kernel is of
		if p, err := e.tree.ReadSmall("lib/modules/"+v+"/pkgbase", 256); err == nil && base == "vmlinuz-"+strings.TrimSpace(string(p)) {
			return v
		}
	}
	_, v, _ := strings.Cut(base, "-")
	if v != "" && v[0] >= '0' && v[0] <= '9' {
		return v
	}
	return ""
}

// bzImageVersion reads the version from the header of an x86 kernel.
func bzImageVersion(t *vfs.Tree, name string) string {
	f, err := t.Open(name)
	if name == "" || err != nil {
		return ""
	}
	defer f.Close()
	ra, ok := f.(io.ReaderAt)
	if !ok {
		return ""
	}
	head := make([]byte, 0x210)
	if _, err := ra.ReadAt(head, 0); err != nil || string(head[0x202:0x206]) != "HdrS" {
		return ""
	}
	text := make([]byte, 256)
	n, _ := ra.ReadAt(text, int64(binary.LittleEndian.Uint16(head[0x20e:]))+0x200)
	text, _, _ = bytes.Cut(text[:n], []byte{0})
	v, _, _ := strings.Cut(string(text), " ")
	return clip(v)
}

// moduleDirs lists the versions that there are modules for, the newest first.
func (e *exam) moduleDirs() (list []string) {
	dirs := e.list("lib/modules")
	for _, d := range dirs {
		if isDir(e.tree, "lib/modules/"+d.Name()+"/kernel") || exists(e.tree, "lib/modules/"+d.Name()+"/modules.dep") {
			list = append(list, d.Name())
		}
	}
	slices.SortFunc(list, func(a, b string) int { return bootcfg.CompareVersions(b, a) })
	return list
}

// guessKernel takes the newest kernel where no boot loader says which one boots.
func (e *exam) guessKernel() {
	for _, v := range e.moduleDirs() {
		for _, p := range []string{"boot/vmlinuz-" + v, "boot/Image-" + v, "boot/vmlinux-" + v} {
			if e.kernel.path == "" && isFile(e.tree, p) {
				e.kernel.path, e.kernel.version = p, v
			}
		}
	}
	v := e.kernel.version
	for _, p := range []string{"boot/initrd.img-" + v, "boot/initramfs-" + v + ".img", "boot/initrd-" + v} {
		if v != "" && len(e.kernel.initrd) == 0 && isFile(e.tree, p) {
			e.kernel.initrd = []string{p}
		}
	}
}

// modules reads what the kernel has built in, and what its modules need.
func (e *exam) modules() {
	k := &e.kernel
	k.builtin, k.files, k.deps = map[string]bool{}, map[string]string{}, map[string][]string{}
	dir := "lib/modules/" + k.version
	if k.version == "" {
		return
	}
	for _, line := range lines(e.tree, dir+"/modules.builtin") {
		if name := initramfs.ModuleName(line); name != "" {
			k.builtin[name], k.known = true, true
		}
	}
	for _, p := range []string{"boot/config-" + k.version, dir + "/config", dir + "/build/.config"} {
		list := lines(e.tree, p)
		for _, line := range list {
			for option, module := range configOptions {
				switch line {
				case option + "=y":
					k.builtin[module], k.known = true, true
				case option + "=m", "# " + option + " is not set":
					k.known = true
				}
			}
		}
		if list != nil {
			break
		}
	}
	text, _ := e.tree.ReadSmall(dir+"/modules.dep", 8<<20)
	for line := range strings.Lines(string(text)) {
		file, needs, ok := strings.Cut(line, ":")
		name := initramfs.ModuleName(strings.TrimSpace(file))
		if !ok || name == "" {
			continue
		}
		k.files[name] = path.Join(dir, strings.TrimSpace(file))
		for _, f := range strings.Fields(needs) {
			k.deps[name] = append(k.deps[name], initramfs.ModuleName(f))
		}
	}
}

// configOptions are options of the kernel for what modules.builtin may not know.
var configOptions = map[string]string{
	"CONFIG_VIRTIO": "virtio", "CONFIG_VIRTIO_PCI": "virtio_pci", "CONFIG_VIRTIO_BLK": "virtio_blk", "CONFIG_VIRTIO_NET": "virtio_net",
	"CONFIG_SCSI_VIRTIO": "virtio_scsi", "CONFIG_EXT4_FS": "ext4", "CONFIG_EXT3_FS": "ext3", "CONFIG_EXT2_FS": "ext2",
	"CONFIG_XFS_FS": "xfs", "CONFIG_BLK_DEV_DM": "dm_mod", "CONFIG_MD_RAID1": "raid1", "CONFIG_VIRTIO_RING": "virtio_ring",
}

// initramfs reads the initramfs, once.
func (e *exam) initramfs() (*initramfs.Content, error) {
	k := &e.kernel
	if k.loaded {
		return k.content, k.err
	}
	k.loaded = true
	var readers []io.Reader
	for _, p := range k.initrd {
		f, err := e.tree.Open(p)
		if err != nil {
			k.err = err
			return nil, err
		}
		i, err := f.Stat()
		ra, ok := f.(io.ReaderAt)
		if err != nil || !ok {
			k.err = errors.Join(err, fs.ErrInvalid)
			return nil, k.err
		}
		readers = append(readers, io.NewSectionReader(ra, 0, i.Size()))
	}
	k.content, k.err = initramfs.Read(io.MultiReader(readers...), k.version, keepFromInitramfs)
	return k.content, k.err
}

// keepFromInitramfs chooses files whose content checks look at.
func keepFromInitramfs(name string) bool {
	dir, base := path.Split(name)
	return dir == "etc/cmdline.d/" || strings.HasSuffix(dir, "udev/rules.d/") && strings.Contains(base, "persistent") && strings.Contains(base, "net") ||
		name == "etc/fstab" || name == "conf/modules"
}

// driver is how a kernel gets at a driver.
type driver struct {
	builtin   bool
	initramfs string   // path in the initramfs
	file      string   // path in the guest
	missing   []string // modules that it needs and the initramfs lacks, itself included
}

// driver looks for a module and what it needs, in the kernel and its initramfs.
func (e *exam) driver(name string, c *initramfs.Content) driver {
	k := &e.kernel
	d := driver{builtin: k.builtin[name], file: k.files[name]}
	if d.builtin {
		return d
	}
	if c != nil {
		d.initramfs = c.Modules[name]
	}
	for _, m := range append([]string{name}, k.deps[name]...) {
		if !k.builtin[m] && (c == nil || c.Modules[m] == "") {
			d.missing = append(d.missing, m)
		}
	}
	return d
}

// where names the initramfs, "" if there is none.
func (k *kernel) where() string {
	var list []string
	for _, p := range k.initrd {
		list = append(list, absolute(p))
	}
	return strings.Join(list, " ")
}
