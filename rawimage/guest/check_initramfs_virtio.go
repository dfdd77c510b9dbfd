package guest

import (
	"slices"
	"strings"
)

// checkInitramfsVirtio: the kernel that boots must find a virtio disk.
var checkInitramfsVirtio = check{"initramfs-virtio", guideLinux, isLinux, (*exam).checkInitramfsVirtio}

// virtioModules is what the guide asks for, in the order of the fix.
var virtioModules = []string{"virtio", "virtio_ring", "virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net"}

func (e *exam) checkInitramfsVirtio(f *Finding) error {
	k := &e.kernel
	if k.version == "" && k.path == "" {
		f.found(StatusUnknown, Evidence{}, "", "no kernel was found")
		return nil
	}
	c, err := e.initramfs()
	if err != nil && c == nil && len(k.initrd) > 0 {
		return err
	}
	where := k.where()
	if where == "" {
		where = absolute(k.path)
	}
	fix := e.rebuild(virtioModules...)
	for _, disk := range []string{"virtio_pci", "virtio_blk"} {
		d := e.driver(disk, c)
		switch {
		case d.builtin:
			f.ok("the disk driver is built into kernel %s", k.version)
		case len(d.missing) == 0:
			f.ok("%s has the drivers for virtio disks", where)
		case err != nil:
			return err
		case !k.known && c == nil:
			f.found(StatusUnknown, Evidence{Path: where}, fix, "what kernel %s has built in is not known", k.version)
		default:
			text := "has no " + strings.Join(d.missing, ", ")
			if has := e.foreignDisks(); len(has) > 0 {
				text += "; it has " + strings.Join(has, ", ")
			}
			f.found(StatusFail, Evidence{Path: where, Text: text}, fix,
				"the default kernel's initramfs has no %s: the server will not find its disk", disk)
		}
	}
	if d := e.driver("virtio_scsi", c); len(d.missing) > 0 && !d.builtin && f.Status == StatusOK {
		f.found(StatusNote, Evidence{Path: where, Text: "has no virtio_scsi"}, fix,
			"the initramfs has no virtio_scsi: the system disk must be of the type VBD, not SCSI")
	}
	return nil
}

// foreignDisks lists drivers of other hypervisors' disks in the initramfs.
func (e *exam) foreignDisks() (list []string) {
	if e.kernel.content == nil {
		return nil
	}
	for _, m := range []string{"vmw_pvscsi", "mptspi", "mptsas", "mptscsih", "xen_blkfront", "hv_storvsc", "ata_piix", "ahci", "BusLogic", "nvme"} {
		if e.kernel.content.Modules[m] != "" {
			list = append(list, m)
		}
	}
	slices.Sort(list)
	return list
}
