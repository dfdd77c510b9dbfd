package quickimport

import (
	"context"
	"errors"
	"fmt"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/disk"
	"github.com/fastimage/fastimage/uploader"
)

// Plan is what an import would do, as far as it is known before it begins.
type Plan struct {
	Source    PlanSource `json:"source"`           // what would be read
	Format    Format     `json:"format"`           // of the object
	Bucket    string     `json:"bucket"`           // of the object
	Key       string     `json:"key"`              // of the object
	MFKey     string     `json:"mf_key,omitempty"` // RAW: the bitmap file's key
	ImageName string     `json:"image_name"`       // as asked for
	MinDisk   int        `json:"min_disk"`         // GB

	ObjectBytesMax int64 `json:"object_bytes_max"` // the object has at most as many bytes
	PartBytes      int64 `json:"part_bytes"`       // size of a part
	PartsMax       int64 `json:"parts_max"`        // the object has at most as many parts
	SendBytesMax   int64 `json:"send_bytes_max"`   // of the object, without retries: parts of zeros are made on the server, of one that is sent

	Disk     *disk.Info `json:"disk,omitempty"`  // partition table
	Quota    *Quota     `json:"quota,omitempty"` // of images; nil if it could not be read
	Stage    string     `json:"stage"`           // what an earlier run has reached; "planned" for a new import
	Warnings []string   `json:"warnings"`        // what does not stand against the import
}

// PlanSource describes the source of an import.
type PlanSource struct {
	Name      string `json:"name"`       // as given
	Format    string `json:"format"`     // as its content says: "raw", "qcow2", "zvhd2", ...
	DiskBytes int64  `json:"disk_bytes"` // size of the disk
	FileBytes int64  `json:"file_bytes"` // size of the file, or of all files of the image
	DataBytes int64  `json:"data_bytes"` // bytes of the disk outside of holes: what is read
}

// Plan does what Import does before it sends anything: it checks the request,
// the source and the cloud, all of them, and says what would be sent. Its
// error is a [*ValidationError] with every problem found, or what kept it from
// checking. To know whether the bucket takes uploads, which no other request
// proves, it puts an object of a few bytes beside the target and removes it.
func (c *Client) Plan(ctx context.Context, source Source, img Image, opts ...ImportOption) (*Plan, error) {
	im, release, err := c.begin(ctx, source, img, opts)
	if err != nil {
		return nil, err
	}
	err = im.preflight(ctx)
	if err = errors.Join(err, release()); err != nil {
		return nil, err
	}
	return im.plan, nil
}

func (im *importer) newPlan() *Plan {
	p := &Plan{
		Source: PlanSource{Name: im.src.Name(), Format: string(im.src.Format()), DiskBytes: im.src.Size(), FileBytes: im.src.FileSize()},
		Format: im.format, Bucket: im.img.Bucket, Key: im.img.Key, ImageName: im.img.Name, MinDisk: im.img.MinDisk,
		Stage: im.journal.rec.Stage, Warnings: append([]string{}, im.src.Warnings()...),
	}
	if im.format == FormatRaw {
		p.MFKey = mfKey(im.img.Key)
	}
	return p
}

// inspect reads the partition table: a disk that ends before its own table
// says so was cut short on its way here. What its file systems hint at is
// compared with the request, and is a warning.
func (im *importer) inspect(ctx context.Context, v *validation) error {
	info, err := im.src.Inspect(ctx)
	if errors.Is(err, rawimage.ErrTruncated) {
		v.problem("file", im.src.Name(), err)
		return nil
	}
	if err != nil {
		return wrap("source", err)
	}
	if info == nil { // a container that is read in order
		return nil
	}
	im.plan.Disk = info
	for _, p := range info.Problems {
		im.warn("the partition table: %s", p)
	}
	if im.img.Type != TypeData {
		im.compareHints(info)
	}
	return nil
}

// warn adds to the plan's warnings, which become the result's.
func (im *importer) warn(format string, args ...any) {
	im.plan.Warnings = append(im.plan.Warnings, fmt.Sprintf(format, args...))
}

// compareHints warns of a request that the disk seems not to fit.
func (im *importer) compareHints(info *disk.Info) {
	uefi := im.img.HWFirmwareType == FirmwareUEFI || im.img.Architecture == ArchARM
	switch {
	case info.Firmware == disk.FirmwareUEFI && !uefi:
		im.warn("the disk seems to start by UEFI (%s), the image is asked for with BIOS: consider hw_firmware_type uefi", info.FirmwareSource)
	case info.Firmware == disk.FirmwareBIOS && uefi:
		im.warn("the disk seems to start by BIOS (%s), the image is asked for with UEFI", info.FirmwareSource)
	}
	asked := string(im.img.Architecture)
	if asked == "" {
		asked = string(ArchX86)
	}
	var hints []disk.Hint
	for _, h := range info.Hints {
		if h.Key != "architecture" {
			continue
		}
		if h.Value == asked {
			return // a disk may start on several
		}
		hints = append(hints, h)
	}
	for _, h := range hints {
		im.warn("the disk seems to be for %s (%s), the image is asked for as %s", h.Value, h.Source, asked)
	}
}

// planUpload says what would be sent.
func (im *importer) planUpload() error {
	p := im.plan
	most, data, err := im.sizes()
	if err != nil {
		return wrap("source", err)
	}
	p.Source.DataBytes, p.ObjectBytesMax, p.SendBytesMax = data, most, most
	if p.PartBytes = im.opt.partSize; p.PartBytes == 0 {
		p.PartBytes = uploader.PartSizeFor(most)
	}
	p.PartsMax = max(1, (most+p.PartBytes-1)/p.PartBytes)
	if im.format == FormatRaw {
		// One part of zeros is sent, of which the server makes the others.
		p.SendBytesMax, err = im.touched(p.PartBytes)
		p.SendBytesMax = min(p.SendBytesMax+p.PartBytes, most)
	}
	return wrap("source", err)
}
