package qcow2

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/fastimage/fastimage/internal/imagefmt"
)

// layer is what a Reader reads unallocated clusters from.
type layer interface {
	io.ReaderAt
	Size() int64
	NextData(off int64) (start, end int64, err error)
}

// Reader reads the disk of an image. It implements [io.ReaderAt] and may be
// used by any number of goroutines at once.
type Reader struct {
	ra   io.ReaderAt // the image
	size int64
	*header
	info *Info

	data     io.ReaderAt // where clusters that are not compressed are
	dataSize int64
	backing  layer // nil when there is none
	closers  []io.Closer
	closed   atomic.Bool

	l1       []uint64 // offsets of the L2 tables, 0 for none
	slices   *blocks  // parts of L2 tables, by offset
	clusters *blocks  // decompressed clusters, by L2 entry
	comp     decompressor
	scratch  sync.Pool // of *[]byte, compressed data

	ledger  imagefmt.Ledger // of clusters, by slice of an L2 table
	crowded crowd           // compressed clusters, by the cluster of the file they begin in
	lastRun imagefmt.LastRun
}

// NewReader reads the image of size bytes in ra. Header, L1 table and snapshot
// table are read and checked here, L2 tables as they are needed. ra must be
// safe for concurrent use and not change. It is never closed; the Reader is
// to be closed when an option let it open other files.
func NewReader(ra io.ReaderAt, size int64, opts ...Option) (*Reader, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if err := imagefmt.CheckSource("qcow2", ra, size); err != nil {
		return nil, err
	}
	files, err := newFiles(o)
	if err != nil {
		return nil, err
	}
	defer files.close()
	return newReader(ra, size, o, files)
}

func newReader(ra io.ReaderAt, size int64, o *options, files *files) (*Reader, error) {
	r := &Reader{ra: ra, size: size, data: ra, dataSize: size}
	var err error
	if r.header, err = parseHeader(ra, size); err != nil {
		return nil, err
	}
	if r.info, err = newInfo(ra, size, r.header); err != nil {
		return nil, err
	}
	if err := r.loadL1(); err != nil {
		return nil, err
	}
	if r.comp, err = newDecompressor(r.compression); err != nil {
		return nil, err
	}
	r.slices, r.clusters = o.slices, o.clusters
	if err := r.openOthers(o, files); err != nil {
		_ = r.Close() // of what was opened before
		return nil, err
	}
	return r, nil
}

// loadL1 reads the L1 table as far as the disk goes and checks what it points
// to. No two entries may share an L2 table: in an honest image they never do,
// and in another one they would make a small file endless to walk through.
func (r *Reader) loadL1() error {
	n := r.geo.l1Needed(r.header.size)
	if n == 0 {
		return nil
	}
	if r.l1Offset == 0 {
		return format.Damaged(offL1Offset, "l1_table_offset", "0 for a table of %d entries", n)
	}
	if r.l1Offset > r.size-n*8 {
		return format.Truncated(offL1Offset, "l1_table_offset", "a table of %d entries at %#x does not fit in the file", n, r.l1Offset)
	}
	r.l1 = make([]uint64, n)
	ascending, last := true, uint64(0)
	read := func(p []byte, off int64) error { return readFull(r.ra, p, off) }
	err := imagefmt.EachEntry(r.l1Offset, n, 8, read, func(i int64, b []byte) error {
		off := binary.BigEndian.Uint64(b) & offsetMask
		if off == 0 {
			return nil
		}
		ascending, last = ascending && off > last, off
		r.l1[i] = off
		return r.checkL2(int64(off), int(i))
	})
	if err != nil || ascending {
		return err
	}
	return r.checkShared()
}

// checkShared looks for L2 tables that are used twice. It takes a copy of the L1
// table, which is why it is not asked for tables in the order of the disk.
func (r *Reader) checkShared() error {
	used := slices.Clone(r.l1)
	slices.Sort(used)
	for k := 1; k < len(used); k++ {
		if off := used[k]; off != 0 && off == used[k-1] {
			first := slices.Index(r.l1, off)
			second := first + 1 + slices.Index(r.l1[first+1:], off)
			return format.Damaged(r.l1Offset+int64(second)*8, "L1 entry", "L2 table at %#x is that of entry %d already", off, first)
		}
	}
	return nil
}

// checkL2 checks the place of the L2 table of entry i.
func (r *Reader) checkL2(off int64, i int) error {
	at, cs := r.l1Offset+int64(i)*8, r.geo.clusterSize
	switch {
	case off%cs != 0:
		return format.Damaged(at, "L1 entry", "L2 table at %#x is not at a cluster boundary", off)
	case off > r.size-cs:
		return format.Truncated(at, "L1 entry", "L2 table at %#x is beyond the end of the file", off)
	case off < r.l1Offset+int64(len(r.l1))*8 && off+cs > r.l1Offset:
		return format.Damaged(at, "L1 entry", "L2 table at %#x is in the L1 table", off)
	}
	return nil
}

// Size returns the size of the disk in bytes: that of the header, without what
// is left of it after the last whole sector of 512 bytes, as in QEMU.
func (r *Reader) Size() int64 { return r.header.size }

// Info returns what the image says of itself.
func (r *Reader) Info() Info { return r.info.clone() }

// Close closes the files that were opened because of an option, not the
// image itself. Reads fail afterwards.
func (r *Reader) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	var errs []error
	for _, c := range r.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// ReadAt reads the disk, as [io.ReaderAt] has it.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("qcow2: read at %d: %w", off, fs.ErrInvalid)
	}
	if r.closed.Load() {
		return 0, ErrClosed
	}
	if off >= r.Size() {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > r.Size()-off {
		p, end = p[:r.Size()-off], io.EOF
	}
	for n := 0; n < len(p); {
		m, err := r.readRun(p[n:], off+int64(n))
		if err != nil {
			return n, err
		}
		n += m
	}
	return len(p), end
}

// readRun reads the start of p that is of one kind and returns its length.
func (r *Reader) readRun(p []byte, off int64) (int, error) {
	m, err := r.locate(off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	p = p[:m.length]
	switch m.kind {
	case kindData:
		err = r.readData(p, m)
	case kindCompressed:
		err = r.readCompressed(p, off, m)
	case kindUnallocated:
		err = r.readBacking(p, off)
	default:
		clear(p)
	}
	return len(p), err
}

// readData reads clusters that are stored as they are. Their places were checked,
// but what the disk does not reach of its last cluster may be missing.
func (r *Reader) readData(p []byte, m mapping) error {
	n := min(int64(len(p)), max(r.dataSize-m.host, 0))
	if err := readFull(r.data, p[:n], m.host); err != nil {
		return err
	}
	clear(p[n:])
	return nil
}

// readBacking reads what the image does not have itself.
func (r *Reader) readBacking(p []byte, off int64) error {
	n := 0
	if r.backing != nil && off < r.backing.Size() {
		n = int(min(int64(len(p)), r.backing.Size()-off))
		if k, err := r.backing.ReadAt(p[:n], off); k < n {
			return fmt.Errorf("qcow2: backing file: %w", cmp.Or(err, io.ErrUnexpectedEOF))
		}
	}
	clear(p[n:])
	return nil
}

// readCompressed reads part of one compressed cluster. A whole one goes
// straight to where it is wanted; a part comes from the cache.
func (r *Reader) readCompressed(p []byte, off int64, m mapping) error {
	if int64(len(p)) == r.geo.clusterSize {
		return r.decompress(p, m)
	}
	data, err := r.clusters.Get(blockKey{r, m.entry}, r.geo.clusterSize, func() ([]byte, error) {
		p := make([]byte, r.geo.clusterSize)
		return p, r.decompress(p, m)
	})
	if err != nil {
		return err
	}
	copy(p, data[off&(r.geo.clusterSize-1):])
	return nil
}

// decompress expands a compressed cluster into dst.
func (r *Reader) decompress(dst []byte, m mapping) error {
	off, length := r.geo.compressed(m.entry)
	if off >= r.size {
		return format.Truncated(m.at, "L2 entry", "compressed cluster at %#x is beyond the end of the file", off)
	}
	buf, _ := r.scratch.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer r.scratch.Put(buf)
	// The last sector may be incomplete at the end of the file.
	length = min(length, r.size-off)
	*buf = slices.Grow((*buf)[:0], int(length))[:length]
	if err := readFull(r.ra, *buf, off); err != nil {
		return err
	}
	if err := r.comp.decompress(dst, *buf); err != nil {
		return format.Damaged(off, "compressed cluster", "%w", err)
	}
	return nil
}
