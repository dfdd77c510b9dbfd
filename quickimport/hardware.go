package quickimport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/disk"
	"github.com/fastimage/fastimage/rawimage/guest"
)

// examine looks at the disk, and at the guest on a system disk that can be read
// anywhere. What is wrong with either is a matter of preflight.
func (im *importer) examine(ctx context.Context, img Image) error {
	info, err := im.src.Inspect(ctx)
	if errors.Is(err, rawimage.ErrTruncated) {
		im.infoErr, err = err, nil
	}
	if err != nil {
		return wrap("source", err)
	}
	im.info = info
	if img.Type == TypeData || im.opt.guest == GuestOff || im.src.image == nil {
		return nil
	}
	opts := []guest.Option{guest.WithOSVersion(img.OSVersion)}
	if img.HWFirmwareType == FirmwareBIOS || img.HWFirmwareType == FirmwareUEFI {
		opts = append(opts, guest.WithFirmware(guest.Firmware(img.HWFirmwareType)))
	}
	if archs, _ := im.architectures(); (img.Architecture == "" || img.Architecture == ArchAuto) && len(archs) == 1 {
		img.Architecture = archs[0]
	}
	if (img.Architecture == ArchX86 || img.Architecture == ArchARM) && !(img.Architecture == ArchARM && img.HWFirmwareType == FirmwareBIOS) {
		opts = append(opts, guest.WithArchitecture(string(img.Architecture)))
	}
	if im.guest, err = guest.Examine(ctx, im.src.image, im.src.Size(), opts...); err != nil {
		return wrap("guest", err)
	}
	if strings.TrimSpace(img.OSVersion) == "" {
		im.matchOSVersion(ctx)
	}
	return nil
}

// matchOSVersion finds the guest among the values that the region offers, or
// those that are known if the region's cannot be read.
func (im *importer) matchOSVersion(ctx context.Context) {
	var names []string
	if offered, err := im.OSVersions(ctx, ""); err == nil {
		for _, v := range offered {
			names = append(names, v.Name)
		}
	}
	if best, ok, closest := guest.MatchOSVersion(im.guest, names); ok {
		im.osVersion = best
	} else {
		im.closest = closest
	}
}

// fromDisk fills in what the caller left to the disk.
func (im *importer) fromDisk(img Image) Image {
	firmware, _ := im.firmware()
	arch, _ := im.architectures()
	if img.Architecture == "" && len(arch) == 1 {
		img.Architecture = arch[0]
	}
	if img.HWFirmwareType == "" && len(firmware) == 1 && !(img.Architecture == ArchARM && firmware[0] == FirmwareBIOS) {
		img.HWFirmwareType = firmware[0]
	}
	if img.OSVersion == "" {
		img.OSVersion = im.osVersion
	}
	return img
}

// firmware returns what can boot the disk, and what says so. None means that
// nothing says anything.
func (im *importer) firmware() (found []Firmware, source string) {
	if g := im.guest; g != nil && g.Examined && len(g.Firmware) > 0 {
		for _, f := range g.Firmware {
			found = append(found, Firmware(f))
		}
		return found, "the guest's boot loader"
	}
	if im.info != nil && im.info.Firmware != disk.FirmwareUnknown {
		return []Firmware{Firmware(im.info.Firmware)}, im.info.FirmwareSource
	}
	return nil, ""
}

// architectures returns what the disk's code is for, and what says so.
func (im *importer) architectures() (found []Architecture, source string) {
	if g := im.guest; g != nil && g.Examined && g.Architecture != "" {
		return []Architecture{serviceArchitecture(g.Architecture)}, "the guest's kernel"
	}
	if im.info == nil {
		return nil, ""
	}
	for _, h := range im.info.Hints {
		if h.Key == "architecture" && !slices.Contains(found, Architecture(h.Value)) {
			found, source = append(found, Architecture(h.Value)), h.Source
		}
	}
	return found, source
}

// serviceArchitecture is an architecture of uname -m by the service's name.
func serviceArchitecture(machine string) Architecture {
	switch {
	case machine == "x86_64" || machine == "amd64" || strings.HasPrefix(machine, "i") && strings.HasSuffix(machine, "86"):
		return ArchX86
	case machine == "aarch64" || machine == "arm64":
		return ArchARM
	}
	return Architecture(machine)
}

// checkDisk takes what examine found into the plan and the list of problems.
func (im *importer) checkDisk(v *validation) {
	if im.infoErr != nil {
		v.problem("file", im.src.Name(), im.infoErr)
	}
	im.plan.Disk = im.info
	if im.info != nil {
		for _, p := range im.info.Problems {
			im.warn(WarnPartitions, "the partition table: %s", p)
		}
	}
	im.checkRecognized(v)
	if im.img.Type == TypeData {
		return
	}
	for i := range v.problems {
		if p := &v.problems[i]; p.Field == "os_version" && p.Reason == ReasonRequired {
			p.Suggestions = im.closest
		}
	}
	im.checkHardware(v)
	if im.img.windows() {
		im.warn(WarnWindows, `the service's documentation says: "Huawei Cloud has stopped providing Windows images. This API will no longer be used to quickly import Windows images"; other clouds accept them`)
	}
	im.checkGuest(v)
}

// checkRecognized refuses a RAW system disk on which there is nothing that makes
// one: it is a file of some other kind that nothing recognized. It is a warning for
// a data disk, and if the caller insists.
func (im *importer) checkRecognized(v *validation) {
	if im.info == nil || im.infoErr != nil || im.info.Recognized() {
		return
	}
	const text = "there is no partition table, no boot code and no file system on the disk"
	given := im.src.Disk != nil && im.src.Disk.FormatGiven()
	other := im.src.Disk != nil && im.src.Disk.Format() != rawimage.FormatRaw
	if im.img.Type == TypeData || im.opt.force || given || other || im.src.Container != nil {
		im.warn(WarnPartitions, text)
		return
	}
	v.problems = append(v.problems, Problem{Field: "file", Reason: ReasonMismatch, Value: im.src.Name(), Rule: text, Err: ErrMismatch})
}

// checkHardware compares the requested firmware and architecture with the disk.
func (im *importer) checkHardware(v *validation) {
	if found, source := im.firmware(); len(found) > 0 {
		asked := im.img.HWFirmwareType
		if im.img.Architecture == ArchARM {
			asked = FirmwareUEFI
		}
		if asked != "" && !slices.Contains(found, asked) {
			im.mismatch(v, WarnFirmware, "hw_firmware_type", string(asked), fmt.Sprintf("this looks like a %s disk (%s), but the image would boot with %s",
				strings.ToUpper(string(found[0])), source, strings.ToUpper(string(asked))))
		}
	}
	if found, source := im.architectures(); len(found) > 0 {
		asked := im.img.Architecture
		if asked == "" {
			asked = ArchX86 // the service's default
		}
		if !slices.Contains(found, asked) {
			im.mismatch(v, WarnArchitecture, "architecture", string(asked), fmt.Sprintf("this looks like a disk for %s (%s), but the image would be for %s", found[0], source, asked))
		}
	}
}

// mismatch refuses a request that contradicts the disk, or warns if that is what
// the caller wants.
func (im *importer) mismatch(v *validation, code WarningCode, field, value, text string) {
	if im.opt.force {
		im.warn(code, "%s", text)
		return
	}
	v.problems = append(v.problems, Problem{Field: field, Reason: ReasonMismatch, Value: value, Rule: text, Err: ErrMismatch})
}

// checkGuest reports what the examination of the guest found.
func (im *importer) checkGuest(v *validation) {
	g := im.guest
	if g == nil {
		if im.opt.guest != GuestOff {
			im.warn(WarnGuest, "the guest was not examined: the disk can only be read in order")
		}
		return
	}
	if !g.Examined {
		im.warn(WarnGuest, "the guest %s", g.Reason)
	}
	for _, f := range g.Findings {
		switch {
		case f.Status == guest.StatusFail && im.opt.guest == GuestStrict:
			v.problems = append(v.problems, Problem{Field: "guest", Reason: ReasonNotReady, Value: f.Check, Rule: f.Summary, Err: ErrGuest})
		case f.Status == guest.StatusFail:
			im.warn(WarnGuest, "%s: %s: servers created from this image will not work", f.Check, f.Summary)
		case f.Status == guest.StatusWarn:
			im.warn(WarnGuest, "%s: %s", f.Check, f.Summary)
		}
	}
}
