package quickimport

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fastimage/fastimage/rawimage/disk"
	"github.com/fastimage/fastimage/rawimage/guest"
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

	OSVersion    string       `json:"os_version,omitempty"`   // that is requested: as given, or derived from the guest
	Architecture Architecture `json:"architecture,omitempty"` // that is requested: as given, or what the disk says; "" leaves it to the service
	Firmware     Firmware     `json:"firmware,omitempty"`     // that is requested: as given, or what the disk says; "" leaves it to the service

	ObjectBytesMax int64 `json:"object_bytes_max"` // the object has at most as many bytes
	PartBytes      int64 `json:"part_bytes"`       // size of a part
	PartsMax       int64 `json:"parts_max"`        // the object has at most as many parts
	SendBytesMax   int64 `json:"send_bytes_max"`   // of the object, without retries: parts of zeros are made on the server, of one that is sent

	Disk     *disk.Info    `json:"disk,omitempty"`  // partition table
	Guest    *guest.Report `json:"guest,omitempty"` // what is on a system disk; nil if it was not examined
	Quota    *Quota        `json:"quota,omitempty"` // of images; nil if it could not be read
	Stage    string        `json:"stage"`           // what an earlier run has reached; "planned" for a new import
	Warnings []Warning     `json:"warnings"`        // what to know before the import
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
func (c *Client) Plan(ctx context.Context, source Source, img Image, opts ...ImportOption) (_ *Plan, err error) {
	im, err := c.newImporter(opts)
	if err != nil {
		return nil, err
	}
	defer func() { im.events.finish(nil, err) }()
	ctx = c.observed(ctx, im.events)
	release, err := im.begin(ctx, source, img)
	if err != nil {
		return nil, err
	}
	im.events.start(PhasePreflight)
	err = errors.Join(im.preflight(ctx), release())
	im.events.end(PhasePreflight, time.Since(im.started), err)
	if err != nil {
		return nil, err
	}
	return im.plan, nil
}

func (im *importer) newPlan() *Plan {
	p := &Plan{
		Source: PlanSource{Name: im.src.Name(), Format: string(im.src.Format()), DiskBytes: im.src.Size(), FileBytes: im.src.FileSize()},
		Format: im.format, Bucket: im.img.Bucket, Key: im.img.Key, ImageName: im.img.Name, MinDisk: im.img.MinDisk,
		OSVersion: im.img.OSVersion, Architecture: im.img.Architecture, Firmware: im.img.HWFirmwareType, Guest: im.guest,
		Stage: im.journal.rec.Stage, Warnings: []Warning{},
	}
	for _, w := range im.src.Warnings() {
		p.Warnings = append(p.Warnings, Warning{WarnSource, w})
	}
	if im.format == FormatRaw {
		p.MFKey = mfKey(im.img.Key)
	}
	return p
}

// warn adds to the plan's warnings, which become the result's.
func (im *importer) warn(code WarningCode, format string, args ...any) {
	im.plan.Warnings = append(im.plan.Warnings, Warning{code, fmt.Sprintf(format, args...)})
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
