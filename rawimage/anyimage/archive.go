package anyimage

import (
	"context"
	"io"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/ova"
)

// ChoiceError reports that it is not clear which member of an archive to read,
// and lists them. [WithMember] names one.
type ChoiceError = ova.ChoiceError

// openOVA opens the disk in a tar archive, in place.
func openOVA(d *Disk, src *rawimage.Image, o *options) (io.ReaderAt, int64, error) {
	a, err := ova.New(src, src.Size())
	if err != nil {
		return nil, 0, err
	}
	m, err := a.Disk(o.member)
	if err != nil {
		return nil, 0, err
	}
	part, err := rawimage.New(a.Section(m), m.Size, rawimage.WithAnyFormat())
	if err != nil {
		return nil, 0, err
	}
	format, err := rawimage.Detect(part, part.Size())
	if err != nil {
		return nil, 0, err
	}
	open, ok := openers[format]
	if !ok || format == rawimage.FormatOVA {
		return nil, 0, &UnsupportedError{Name: m.Name, Format: format, Inside: rawimage.FormatOVA}
	}
	d.fact("member", m.Name)
	if format != rawimage.FormatVMDK {
		d.fact("member format", string(format))
	}
	d.archive, d.member = a, m
	if algorithm := a.Digest(m); algorithm != "" {
		d.fact("manifest", algorithm)
	} else {
		d.warn(WarnNoManifest, "the archive has no digest of the disk, so it cannot be verified")
	}
	return open(d, part, &options{format: format, vhdSize: o.vhdSize})
}

// Verify compares what the image has digests of with them: the disk in an OVA,
// and its small members, with the manifest. It reads them once from start to end,
// at the same time as others read the disk, and is ended by ctx. A mismatch is a
// *[FormatError] of kind rawimage.ErrDamaged. An image without digests is not
// read. CheckUnchanged includes it: whoever calls Verify while the disk is being
// read saves the time there.
func (d *Disk) Verify(ctx context.Context) error {
	if d.archive == nil {
		return nil
	}
	d.verifying.Lock()
	defer d.verifying.Unlock()
	if d.verified {
		return nil
	}
	err := d.archive.Verify(ctx, d.member)
	d.verified = err == nil
	return err
}
