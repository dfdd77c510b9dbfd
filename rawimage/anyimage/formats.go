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

// openers open the reader of a format over d.file, and note what it says.
var openers = map[rawimage.Format]func(d *Disk, o *options) (io.ReaderAt, int64, error){
	rawimage.FormatRaw:   openRaw,
	rawimage.FormatQCOW2: openQCOW2,
	rawimage.FormatVMDK:  openVMDK,
	rawimage.FormatOVA:   openOVA,
	rawimage.FormatVHD:   openVHD,
	rawimage.FormatVHDX:  openVHDX,
	rawimage.FormatVDI:   openVDI,
}

func openRaw(d *Disk, _ *options) (io.ReaderAt, int64, error) { return d.file, d.file.Size(), nil }

func openQCOW2(d *Disk, o *options) (io.ReaderAt, int64, error) {
	var opts []qcow2.Option
	if o.references != "" {
		opts = append(opts, qcow2.WithDir(o.references))
	}
	r, err := qcow2.NewReader(d.file, d.file.Size(), opts...)
	if err != nil {
		return nil, 0, err
	}
	d.under = r
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
		d.warn("the image is marked corrupt: damage was found when it was last used; look at it with qemu-img check")
	}
	if info.Dirty {
		d.warn("the image was not closed cleanly: its data is whole, its reference counts may not be")
	}
	if n := info.SnapshotCount; n > 0 {
		d.warn("the image has %d internal snapshots, which are not read: the disk is the current one", n)
	}
	return r, r.Size(), nil
}

func openVMDK(d *Disk, o *options) (io.ReaderAt, int64, error) {
	var opts []vmdk.Option
	if o.beside != "" {
		opts = append(opts, vmdk.WithDir(o.beside))
	}
	r, err := vmdk.NewReader(d.file, d.file.Size(), opts...)
	if err != nil {
		return nil, 0, err
	}
	d.under = r
	for _, e := range r.Info().Extents {
		if e.Name == "" {
			continue
		}
		if err := d.watch(filepath.Join(o.beside, e.Name)); err != nil {
			return nil, 0, err
		}
	}
	return d.vmdk(r)
}

func openOVA(d *Disk, o *options) (io.ReaderAt, int64, error) {
	var opts []vmdk.Option
	if o.member != "" {
		opts = append(opts, vmdk.WithMember(o.member))
	}
	r, err := vmdk.NewOVAReader(d.file, d.file.Size(), opts...)
	if err != nil {
		return nil, 0, err
	}
	d.under = r
	return d.vmdk(r)
}

func (d *Disk) vmdk(r *vmdk.Reader) (io.ReaderAt, int64, error) {
	info := r.Info()
	d.fact("member", info.Member)
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
		d.warn("the image was not closed by its last writer: what it was writing may be missing")
	}
	return r, r.Size(), nil
}

func openVHD(d *Disk, _ *options) (io.ReaderAt, int64, error) {
	r, err := vhd.NewReader(d.file, d.file.Size())
	if err != nil {
		return nil, 0, err
	}
	info := r.Info()
	d.fact("subformat", string(info.Subformat))
	d.blocks(info.BlockSize, info.Blocks, info.Stored)
	d.fact("creator", strings.TrimSpace(info.Creator))
	d.fact("created", info.Created.UTC().Format(time.RFC3339))
	if info.Saved {
		d.warn("the machine was suspended, not shut down: its memory is not in the image")
	}
	if info.CurrentSize != uint64(info.Size) {
		d.warn("the footer has two sizes: %d bytes by the geometry, which are read, and %d", info.Size, info.CurrentSize)
	}
	return r, r.Size(), nil
}

func openVHDX(d *Disk, _ *options) (io.ReaderAt, int64, error) {
	r, err := vhdx.NewReader(d.file, d.file.Size())
	if err != nil {
		return nil, 0, err
	}
	info := r.Info()
	d.fact("subformat", string(info.Subformat))
	d.blocks(info.BlockSize, info.Blocks, info.Stored)
	d.fact("creator", info.Creator)
	if info.Replayed > 0 {
		d.warn("the image was not closed cleanly: %d changes in its log were replayed in memory", info.Replayed)
	}
	return r, r.Size(), nil
}

func openVDI(d *Disk, _ *options) (io.ReaderAt, int64, error) {
	r, err := vdi.NewReader(d.file, d.file.Size())
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

func (d *Disk) fact(name, value string) {
	if value != "" {
		d.facts = append(d.facts, Fact{name, value})
	}
}

func (d *Disk) warn(format string, args ...any) {
	d.warnings = append(d.warnings, fmt.Sprintf(format, args...))
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

// compressed tells the formats that OpenStream reads.
func compressed(f rawimage.Format) bool {
	return f == rawimage.FormatGzip || f == rawimage.FormatXZ || f == rawimage.FormatZstd
}
