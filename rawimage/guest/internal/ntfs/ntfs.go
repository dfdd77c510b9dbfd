// Package ntfs reads NTFS file systems, hostile ones too. Compressed and encrypted
// files are not read.
package ntfs

import (
	"encoding/binary"
	"io"
	"io/fs"
	"time"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

const (
	rootRecord   = 5
	volumeRecord = 3

	attrList      = 0x20
	attrInfo      = 0x10
	attrVolume    = 0x70
	attrData      = 0x80
	attrIndexRoot = 0x90
	attrIndexAll  = 0xa0
	attrBitmap    = 0xb0

	maxRuns    = 1 << 18
	maxAttrs   = 4096 // of one file
	maxRecords = 256  // that hold the attributes of one file
)

var le = binary.LittleEndian

// FS is a file system. The ID of a node is the number of its record in the MFT.
type FS struct {
	ra      io.ReaderAt
	cluster int64
	size    int64 // bytes
	record  int64 // bytes of a record of the MFT
	mft     []vfs.Extent
	mftSize int64
}

// New opens the file system that ra, size bytes long, holds.
func New(ra io.ReaderAt, size int64) (*FS, error) {
	p := make([]byte, 512)
	if err := vfs.ReadFull(ra, p, 0); err != nil {
		return nil, err
	}
	sector, per := int64(le.Uint16(p[0x0b:])), int64(p[0x0d])
	if per > 0x80 {
		per = 1 << min(256-per, 20)
	}
	f := &FS{ra: ra, cluster: sector * per, size: size, record: int64(int8(p[0x40]))}
	if f.record < 0 {
		f.record = 1 << min(-f.record, 20)
	} else {
		f.record *= f.cluster
	}
	at := int64(le.Uint64(p[0x30:]))
	if string(p[3:7]) != "NTFS" || sector < 256 || sector > 4096 || f.cluster < 256 || f.cluster > 2<<20 ||
		f.record < 512 || f.record > 64<<10 || at <= 0 || at > size/f.cluster {
		return nil, vfs.Damaged("NTFS boot sector")
	}
	// The first record describes the MFT itself.
	f.mft, f.mftSize = []vfs.Extent{{Physical: at * f.cluster, Length: f.record}}, f.record
	n, err := f.open(0)
	if err != nil {
		return nil, err
	}
	data, ok := n.attr(attrData, "")
	if !ok || data.resident {
		return nil, vfs.Damaged("NTFS: the MFT has no data")
	}
	f.mft, f.mftSize = data.runs, data.size
	return f, nil
}

// Root implements vfs.FileSystem.
func (f *FS) Root() uint64 { return rootRecord }

// FoldsCase implements vfs.FileSystem.
func (f *FS) FoldsCase() bool { return true }

// Open implements vfs.FileSystem.
func (f *FS) Open(id uint64) (vfs.Node, error) { return f.open(id) }

// Dirty reports whether the volume was not unmounted.
func (f *FS) Dirty() bool {
	n, err := f.open(volumeRecord)
	if err != nil {
		return false
	}
	a, ok := n.attr(attrVolume, "")
	return ok && len(a.value) >= 12 && le.Uint16(a.value[10:])&1 != 0
}

// raw reads a record of the MFT.
func (f *FS) raw(id uint64) ([]byte, error) {
	if id >= uint64(f.mftSize/f.record) {
		return nil, vfs.Damaged("NTFS: record %d of %d", id, f.mftSize/f.record)
	}
	p := make([]byte, f.record)
	if n, err := vfs.ReadExtents(f.ra, f.mft, f.mftSize, p, int64(id)*f.record); n < len(p) {
		return nil, err
	}
	if string(p[:4]) != "FILE" {
		return nil, vfs.Damaged("NTFS: record %d has no magic", id)
	}
	return p, fixup(p)
}

// fixup puts back the last two bytes of each sector, which a record keeps in its
// header to detect torn writes.
func fixup(p []byte) error {
	at, count := int(le.Uint16(p[4:])), int(le.Uint16(p[6:]))
	if count == 0 {
		return nil
	}
	stride := len(p) / max(count-1, 1)
	if count < 2 || at+count*2 > len(p) || stride < 256 {
		return vfs.Damaged("NTFS: update sequence")
	}
	for i := 1; i < count; i++ {
		end := i*stride - 2
		if p[end] != p[at] || p[end+1] != p[at+1] {
			return vfs.Damaged("NTFS: torn write")
		}
		copy(p[end:end+2], p[at+i*2:])
	}
	return nil
}

func (f *FS) open(id uint64) (*node, error) {
	p, err := f.raw(id)
	if err != nil {
		return nil, err
	}
	flags := le.Uint16(p[0x16:])
	if flags&1 == 0 {
		return nil, vfs.Damaged("NTFS: record %d is not in use", id)
	}
	n := &node{fs: f, id: id}
	if err := n.attrs(p); err != nil {
		return nil, err
	}
	if err := n.more(); err != nil {
		return nil, err
	}
	n.info.Mode = 0o644
	if flags&2 != 0 {
		n.info.Mode = fs.ModeDir | 0o755
	}
	if a, ok := n.attr(attrInfo, ""); ok && len(a.value) >= 16 {
		t := int64(le.Uint64(a.value[8:])) / 1e7
		n.info.ModTime = time.Unix(t-11644473600, 0).UTC()
	}
	if a, ok := n.attr(attrData, ""); ok && flags&2 == 0 {
		n.info.Size = a.size
	}
	return n, nil
}

type node struct {
	fs   *FS
	id   uint64
	info vfs.Info
	list []attribute
}

func (n *node) Info() vfs.Info { return n.info }

func (n *node) Readlink() (string, error) { return "", fs.ErrInvalid }

func (n *node) ReadAt(p []byte, off int64) (int, error) {
	a, ok := n.attr(attrData, "")
	if !ok {
		return 0, vfs.Damaged("NTFS: record %d has no data", n.id)
	}
	return n.fs.readAttr(a, p, off)
}

func (f *FS) readAttr(a *attribute, p []byte, off int64) (int, error) {
	if a.flags&0xc0ff != 0 {
		return 0, vfs.Unsupported("compressed or encrypted file")
	}
	if a.resident {
		if off < 0 || off >= a.size {
			return 0, io.EOF
		}
		k := copy(p, a.value[off:])
		if k < len(p) {
			return k, io.EOF
		}
		return k, nil
	}
	return vfs.ReadExtents(f.ra, a.runs, a.size, p, off)
}
