package vmdk

import (
	"errors"
	"io"
	"sort"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/internal/imagefmt"
	"github.com/fastimage/fastimage/internal/lru"
	"github.com/fastimage/fastimage/internal/magic"
	"github.com/fastimage/fastimage/internal/sparse"
)

const (
	// cachedGrains bounds the expanded grains kept, in bytes. Reads of whole
	// grains go past them; they serve those that begin or end within one.
	cachedGrains = 4 << 20
	// cachedTables bounds the grain tables kept, in bytes: 1024 of the usual
	// ones, which map 32 GiB.
	cachedTables = 2 << 20
	// descriptorHead is how much of a text is looked at to recognize it.
	descriptorHead = 4096
)

// Info describes an image.
type Info struct {
	CreateType string       // such as "monolithicSparse" or "streamOptimized", "" where it is not told
	Adapter    string       // such as "lsilogic", "" where it is not told
	Size       int64        // virtual size in bytes
	Compressed bool         // an extent has compressed grains
	Unclean    bool         // an extent was not closed by its last writer
	Extents    []ExtentInfo // in the order of the disk
}

// ExtentInfo describes a piece of the disk.
type ExtentInfo struct {
	Name   string // of the file, "" for the one given to NewReader
	Kind   string // SPARSE, FLAT, VMFS or ZERO
	Offset int64  // of its first byte on the disk
	Size   int64  // bytes
	Grain  int64  // bytes, 0 for all but SPARSE
}

// source is an extent's content, at offsets of the extent.
type source interface {
	// readAt fills p, which lies in the extent.
	readAt(p []byte, off int64) error
	// nextData is as Reader.NextData; the range may go past the extent's end.
	nextData(off int64) (start, end int64, err error)
}

// extent is a piece of the disk.
type extent struct {
	start, end int64
	src        source
}

// key names a table or grain of one extent.
type key struct {
	extent *sparseExtent
	index  int64
}

// shared is what all extents of an image draw from.
type shared struct {
	tables *lru.Cache[key, []uint32]
	grains *lru.Cache[key, []byte]
	budget int64 // bytes left for grain directories
}

// Reader is an open VMDK. All methods but Close are safe for concurrent use.
type Reader struct {
	extents []extent // from 0 on without gaps
	size    int64
	info    Info
	files   []io.Closer
	last    imagefmt.LastRun
}

// NewReader reads the header, or the descriptor, of the VMDK in the first size
// bytes of ra, which must stay open as long as the Reader is used. Where the data
// is in other files these are opened in the directory of WithDir.
func NewReader(ra io.ReaderAt, size int64, opts ...Option) (*Reader, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if err := imagefmt.CheckSource("vmdk", ra, size); err != nil {
		return nil, err
	}
	if size == 0 {
		return nil, format.Truncated(0, "file", "empty")
	}
	head := make([]byte, min(size, descriptorHead))
	if err := readFull(ra, head, 0, "header"); err != nil {
		return nil, err
	}
	r := new(Reader)
	sh := &shared{
		tables: lru.New[key, []uint32](cachedTables),
		grains: lru.New[key, []byte](cachedGrains),
		budget: o.maxTable,
	}
	if magic.IsVMDKDescriptor(head) {
		err = r.openDescriptor(ra, size, o, sh)
	} else {
		err = r.openMonolithic(ra, size, o, sh)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.info.Size = r.size
	return r, nil
}

// openMonolithic opens a file that is header, descriptor and data in one, or the
// base disk of an old ESX host, which has no descriptor of its own.
func (r *Reader) openMonolithic(ra io.ReaderAt, size int64, o *options, sh *shared) error {
	s, err := openSparse(ra, size, sh)
	if err != nil {
		return err
	}
	d, err := s.readEmbedded()
	if err != nil {
		return err
	}
	if (d.empty() || s.h.esx) && s.h.flags&flagMarkers == 0 || len(d.extents) > 1 {
		if err := o.refusePart(s); err != nil {
			return err
		}
	}
	r.info.CreateType, r.info.Adapter = d.values["createtype"], d.values["ddb.adaptertype"]
	if err := d.check(int64(s.h.descriptorAt) * sectorSize); err != nil {
		return err
	}
	return r.add(s, ExtentInfo{Kind: "SPARSE", Size: s.size})
}

// readEmbedded reads the descriptor of a monolithic file, which does not say
// where the data is. Without one, or with one of zeros, as qemu-img leaves it in
// the parts of a split disk, the result is empty.
func (s *sparseExtent) readEmbedded() (*descriptor, error) {
	if s.h.descriptorAt == 0 || s.h.descriptorN == 0 {
		return new(descriptor), nil
	}
	sectors := uint64(s.fileSize) / sectorSize
	if s.h.descriptorAt > sectors || s.h.descriptorN > sectors-s.h.descriptorAt {
		return nil, format.Truncated(28, "descriptor offset", "%d sectors at %d are outside the file", s.h.descriptorN, s.h.descriptorAt)
	}
	text := make([]byte, min(int64(s.h.descriptorN)*sectorSize, maxDescriptor))
	if err := readFull(s.ra, text, int64(s.h.descriptorAt)*sectorSize, "descriptor"); err != nil {
		return nil, err
	}
	return parseDescriptor(text)
}

// add appends an extent of info.Size bytes.
func (r *Reader) add(src source, info ExtentInfo) error {
	if info.Size > maxSize-r.size {
		return format.Damaged(imageerr.None, "extents", "more than 2^63 bytes together")
	}
	if s, ok := src.(*sparseExtent); ok {
		info.Grain = s.grain
		r.info.Compressed = r.info.Compressed || s.compressed()
		r.info.Unclean = r.info.Unclean || s.h.unclean
	}
	info.Offset = r.size
	r.extents = append(r.extents, extent{r.size, r.size + info.Size, src})
	r.info.Extents = append(r.info.Extents, info)
	r.size += info.Size
	return nil
}

// Size returns the virtual size in bytes, as qemu-img convert -O raw gives it.
func (r *Reader) Size() int64 { return r.size }

// Info describes the image.
func (r *Reader) Info() Info { return r.info }

// Close closes the files that WithDir made the Reader open. What was given to
// NewReader stays open.
func (r *Reader) Close() error {
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.Close())
	}
	r.files = nil
	return errors.Join(errs...)
}

// find returns the index of the extent with the byte at off, which is on the disk.
func (r *Reader) find(off int64) int {
	return sort.Search(len(r.extents), func(i int) bool { return r.extents[i].end > off })
}

// ReadAt reads bytes of the virtual disk. What is in no extent's grains is zeros.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	p, eof := imagefmt.Clip("vmdk", p, off, r.size)
	if len(p) == 0 {
		return 0, eof
	}
	n := 0
	for i := r.find(off); n < len(p); i++ {
		e := r.extents[i]
		pos := off + int64(n)
		part := p[n:]
		if int64(len(part)) > e.end-pos {
			part = part[:e.end-pos]
		}
		if err := e.src.readAt(part, pos-e.start); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, eof
}

// NextData returns the first range of data that ends after off, clipped to begin
// at off, and io.EOF where only zeros follow; a long range may come in several
// that touch. It comes from the grain tables: a grain that the file stores may be
// zeros. A flat extent is data where its file is, if the file system tells.
func (r *Reader) NextData(off int64) (start, end int64, err error) {
	if start, end, ok := r.last.At(off); ok {
		return start, end, nil
	}
	start, end, err = sparse.NextData(finder{r}, off, r.size)
	if err == nil {
		r.last.Set(off, start, end)
	}
	return start, end, err
}

// finder is a Reader before the contract of sources with holes is enforced.
type finder struct{ *Reader }

func (r finder) NextData(off int64) (start, end int64, err error) {
	for _, e := range r.extents[r.find(off):] {
		start, end, err := e.src.nextData(max(off-e.start, 0))
		if errors.Is(err, io.EOF) || err == nil && start >= e.end-e.start {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		return e.start + start, e.start + min(end, e.end-e.start), nil
	}
	return 0, 0, io.EOF
}
