package guest

import (
	"fmt"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

// checkBootLoader: the disk must have what its firmware starts. Entries that the
// old machine kept in its NVRAM do not come along.
var checkBootLoader = check{"boot-loader", guidePrepare, scanned, (*exam).checkBootLoader}

func (e *exam) checkBootLoader(f *Finding) error {
	bios := e.biosReason()
	file, uefi := e.uefiFile()
	want := e.opts.firmware
	if e.opts.architecture == "arm" {
		want = FirmwareUEFI
	}
	switch {
	case want == FirmwareBIOS && bios != "":
		f.found(StatusFail, Evidence{Path: "disk", Text: bios}, e.biosFix(), "a BIOS cannot start the disk: %s", bios)
	case want == FirmwareUEFI && uefi != "":
		f.found(StatusFail, Evidence{Path: "disk", Text: uefi}, e.uefiFix(), "UEFI cannot start the disk: %s", uefi)
	case want == FirmwareAuto && bios != "" && uefi != "":
		f.found(StatusFail, Evidence{Path: "disk", Text: bios + "; " + uefi}, e.biosFix(),
			"neither a BIOS nor UEFI can start the disk: %s, and %s", bios, uefi)
	case want == FirmwareUEFI, bios != "":
		f.ok("UEFI starts %s", file)
	default:
		f.ok("a BIOS starts the boot code in the MBR")
	}
	if e.report.Examined && e.win == nil && e.entry == nil && f.Status == StatusOK {
		f.Summary = ""
		e.noMenu(f)
	}
	return nil
}

// noMenu reports a boot loader whose configuration was not found. GRUB without one
// stops at its prompt; others may have theirs where nobody looked.
func (e *exam) noMenu(f *Finding) {
	sector := make([]byte, 512)
	err := vfs.ReadFull(e.disk, sector, 0)
	if err == nil && isGRUB(sector) || e.hasProgram("grub-install") || e.hasProgram("grub2-install") {
		f.found(StatusFail, Evidence{Path: "boot/grub"}, "grub-mkconfig -o /boot/grub/grub.cfg", "GRUB has no menu: it stops at its prompt")
		return
	}
	f.found(StatusUnknown, Evidence{}, "", "no configuration of a known boot loader was found")
}

func (e *exam) biosFix() string {
	if e.tree != nil && (exists(e.tree, "usr/sbin/grub2-install") || exists(e.tree, "sbin/grub2-install")) {
		return "grub2-install --target=i386-pc /dev/sdX"
	}
	return "grub-install --target=i386-pc /dev/sdX"
}

func (e *exam) uefiFix() string {
	install := "grub-install"
	if e.tree != nil && (exists(e.tree, "usr/sbin/grub2-install") || exists(e.tree, "etc/redhat-release")) {
		return fmt.Sprintf("mkdir -p /boot/efi/EFI/BOOT && cp the distribution's shim or grub from /boot/efi/EFI to /boot/efi/%s",
			fallback(e.report.Architecture))
	}
	return install + " --removable --efi-directory=/boot/efi"
}
