package anyimage

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/qcow2"
	"github.com/fastimage/fastimage/rawimage/vdi"
	"github.com/fastimage/fastimage/rawimage/vhd"
	"github.com/fastimage/fastimage/rawimage/vhdx"
	"github.com/fastimage/fastimage/rawimage/vmdk"
)

// openers open the reader of a format over the file src, which is that of d or a
// part of it, and note what the image says of itself.
var openers = map[rawimage.Format]func(d *Disk, src *rawimage.Image, o *options) (io.ReaderAt, int64, error){
	rawimage.FormatRaw:   openRaw,
	rawimage.FormatQCOW2: openQCOW2,
	rawimage.FormatVMDK:  openVMDK,
	rawimage.FormatVHD:   openVHD,
	rawimage.FormatVHDX:  openVHDX,
	rawimage.FormatVDI:   openVDI,
}

func init() { openers[rawimage.FormatOVA] = openOVA } // which uses the others

// openRaw refuses a flat extent that a descriptor beside it lists with others: it
// is one part of a disk.
func openRaw(d *Disk, src *rawimage.Image, o *options) (io.ReaderAt, int64, error) {
	if o.format == "" {
		if err := vmdk.RefusePart(o.beside, d.base(src)); err != nil {
			return nil, 0, err
		}
	}
	return src, src.Size(), nil
}

func openQCOW2(d *Disk, src *rawimage.Image, o *options) (io.ReaderAt, int64, error) {
	var opts []qcow2.Option
	if o.references != "" {
		opts = append(opts, qcow2.WithDir(o.references))
	}
	r, err := qcow2.NewReader(src, src.Size(), opts...)
	if err != nil {
		return nil, 0, err
	}
	d.under = append(d.under, r)
	info := r.Info()
	if err := d.watchChain(o.references, &info); err != nil {
		return nil, 0, err
	}
	d.fact("version", strconv.Itoa(info.Version))
	d.fact("cluster size", bytesText(info.ClusterSize))
	if info.ExtendedL2 {
		d.fact("subcluster size", bytesText(info.SubclusterSize))
	}
	d.fact("compression type", info.Compression)
	d.fact("features", strings.Join(info.Features, ", "))
	d.fact("backing file", info.BackingFile)
	d.fact("data file", info.DataFile)
	if info.Corrupt {
		d.warn(WarnCorrupt, "the image is marked corrupt: damage was found when it was last used")
	}
	if info.Dirty {
		d.warn(WarnUnclean, "the image was not closed cleanly: its data is complete, its reference counts may be wrong")
	}
	if n := info.SnapshotCount; n > 0 {
		d.warn(WarnSnapshots, "the image has %d internal snapshots, which are not read: the disk is the current one", n)
	}
	return r, r.Size(), nil
}

func openVMDK(d *Disk, src *rawimage.Image, o *options) (io.ReaderAt, int64, error) {
	opts := []vmdk.Option{vmdk.WithName(d.base(src))}
	if o.beside != "" {
		opts = append(opts, vmdk.WithDir(o.beside))
	}
	r, err := vmdk.NewReader(src, src.Size(), opts...)
	if err != nil {
		return nil, 0, err
	}
	d.under = append(d.under, r)
	info := r.Info()
	for _, e := range info.Extents {
		if e.Name == "" {
			continue
		}
		if err := d.watch(filepath.Join(o.beside, e.Name)); err != nil {
			return nil, 0, err
		}
	}
	d.fact("subformat", info.CreateType)
	d.fact("adapter", info.Adapter)
	if n := len(info.Extents); n > 1 {
		d.fact("extents", strconv.Itoa(n))
	}
	for _, e := range info.Extents {
		if e.Grain > 0 {
			d.fact("grain size", bytesText(e.Grain))
			break
		}
	}
	if info.Compressed {
		d.fact("compression", "deflate")
	}
	if info.Unclean {
		d.warn(WarnUnclean, "the image was not closed by its last writer: what it was writing may be missing")
	}
	return r, r.Size(), nil
}

func openVHD(d *Disk, src *rawimage.Image, o *options) (io.ReaderAt, int64, error) {
	var opts []vhd.Option
	if o.vhdSize != "" {
		opts = append(opts, vhd.WithSize(o.vhdSize))
	}
	r, err := vhd.NewReader(src, src.Size(), opts...)
	if err != nil {
		return nil, 0, err
	}
	info := r.Info()
	d.fact("subformat", string(info.Subformat))
	d.blocks(info.BlockSize, info.Blocks, info.Stored)
	d.fact("creator", strings.TrimSpace(info.Creator))
	d.fact("created", info.Created.UTC().Format(time.RFC3339))
	if info.Saved {
		d.warn(WarnSuspended, "the machine was suspended, not shut down: its memory is not in the image")
	}
	if info.CurrentSize != info.GeometrySize && info.SizeReason != "" {
		d.fact("current size", strconv.FormatInt(info.CurrentSize, 10))
		d.fact("geometry", strconv.FormatInt(info.GeometrySize, 10))
		d.warn(WarnTwoSizes, "the footer has two sizes, a current size of %d bytes and a geometry of %d; the disk has the %s (%s)",
			info.CurrentSize, info.GeometrySize, info.SizeSource, info.SizeReason)
	}
	return r, r.Size(), nil
}

func openVHDX(d *Disk, src *rawimage.Image, _ *options) (io.ReaderAt, int64, error) {
	r, err := vhdx.NewReader(src, src.Size())
	if err != nil {
		return nil, 0, err
	}
	info := r.Info()
	d.fact("subformat", string(info.Subformat))
	d.blocks(info.BlockSize, info.Blocks, info.Stored)
	d.fact("creator", info.Creator)
	if info.LogicalSector != 512 {
		d.fact("logical sector size", bytesText(int64(info.LogicalSector)))
		d.warn(WarnSectorSize, "the disk has sectors of %d bytes; disks of a cloud have 512", info.LogicalSector)
	}
	if info.Replayed > 0 {
		d.warn(WarnUnclean, "the image was not closed cleanly: %d changes in its log were replayed in memory", info.Replayed)
	}
	return r, r.Size(), nil
}

func openVDI(d *Disk, src *rawimage.Image, _ *options) (io.ReaderAt, int64, error) {
	r, err := vdi.NewReader(src, src.Size())
	if err != nil {
		return nil, 0, err
	}
	info := r.Info()
	d.fact("subformat", string(info.Subformat))
	d.blocks(info.BlockSize, info.Blocks, info.Stored)
	return r, r.Size(), nil
}

func (d *Disk) blocks(size, all, stored int64) {
	if size > 0 {
		d.fact("allocation", fmt.Sprintf("%d of %d blocks of %s", stored, all, bytesText(size)))
	}
}

// fact notes what an image says of itself. Names and texts come from the image:
// control characters in them are escaped.
func (d *Disk) fact(name, value string) {
	if value != "" {
		d.facts = append(d.facts, Fact{name, escape(value)})
	}
}

func (d *Disk) warn(code, format string, args ...any) {
	d.warnings = append(d.warnings, Warning{code, fmt.Sprintf(format, args...)})
}

// escape escapes what does not print, as strconv.Quote does, without the quotes.
func escape(s string) string {
	q := strconv.Quote(s)
	if q = q[1 : len(q)-1]; strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return q
	}
	return s
}

// bytesText is n with the largest unit that divides it.
func bytesText(n int64) string {
	for _, u := range []struct {
		bytes int64
		name  string
	}{{1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// compressed reports whether OpenStream reads files of format f.
func compressed(f rawimage.Format) bool { return decoders[f] != nil }
