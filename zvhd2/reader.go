package zvhd2

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"
	"time"
)

// Reader reads the disk in a container. It is safe for concurrent use.
type Reader struct {
	ra     io.ReaderAt
	size   int64
	foot   *footer
	bitmap *bitset
	index  index
	cache  *cache
	decs   sync.Pool // of *decoder
	closer io.Closer
}

// Info is what a container says of itself.
type Info struct {
	Size         int64     // bytes of the disk
	VirtualSize  int64     // bytes of the disk a VM sees
	FileSize     int64     // bytes of the container
	BlockSize    int64     // bytes
	Blocks       int64     // blocks of the disk
	StoredBlocks int64     // of these, blocks stored
	Compression  string    // "zstd" or "zlib"
	FullIndex    bool      // the index lists zero blocks too
	UUID         [16]byte  // of the container
	Created      time.Time // in whole seconds
}

// Block is a stored block.
type Block struct {
	Number     int64 // in the disk, from 0
	Offset     int64 // in the disk
	Length     int64 // bytes of the disk in it; the last block may be short
	FileOffset int64 // of its record in the container
	FileLength int64 // of its record, padding included
}

// NewReader opens the container of size bytes in ra. It reads the header, the
// index footer and the bitmap; the index is read when a block is first wanted,
// 512 KiB for each 64 GiB of data. Every field is held against size before
// anything is allocated from it.
//
// NewReader heeds [WithCacheSize].
func NewReader(ra io.ReaderAt, size int64, opts ...Option) (*Reader, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	r := &Reader{ra: ra, size: size}
	if err := r.readFooters(); err != nil {
		return nil, err
	}
	if err := r.readBitmap(); err != nil {
		return nil, err
	}
	r.cache = newCache(o.cacheSize, r.foot.blockSize)
	r.index.segs = make([][]entry, r.foot.indexNum)
	return r, nil
}

// Open opens the named file with [NewReader]; the caller closes the Reader.
func Open(name string, opts ...Option) (*Reader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("zvhd2: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is not a regular file", ErrFormat, name)
	}
	var r *Reader
	if err == nil {
		r, err = NewReader(f, st.Size(), opts...)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	r.closer = f
	return r, nil
}

// Close closes the file if [Open] opened it.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// minFile is the smallest container: header, end-of-data, bitmap, footer.
const minFile = 4 * pageSize

func (r *Reader) readFooters() error {
	if r.size < pageSize {
		return fieldErr(0, "file", ErrTruncated, "%d bytes", r.size)
	}
	head, err := r.readFooter(0)
	if err != nil {
		return err
	}
	if head.zvhd {
		return fieldErr(0, "cookie", ErrUnsupported, "ZVHD has no index: read it with NewStreamReader")
	}
	if r.size < minFile || r.size%pageSize != 0 {
		return fieldErr(r.size, "file", ErrTruncated, "%d bytes", r.size)
	}
	base := r.size - pageSize
	if r.foot, err = r.readFooter(base); err != nil {
		return missingFooter(err, base)
	}
	if err := compareFooters(head, r.foot, base); err != nil {
		return err
	}
	return r.foot.checkLayout(r.size)
}

// missingFooter makes of an index footer without its cookie what it most
// likely is: a file that was cut off.
func missingFooter(err error, base int64) error {
	var fe *FormatError
	if errors.As(err, &fe) && fe.Field == "cookie" {
		return fieldErr(base, "cookie", ErrTruncated, "no index footer at the end")
	}
	return err
}

func (r *Reader) readFooter(off int64) (*footer, error) {
	b := make([]byte, pageSize)
	if err := r.readFull(b, off, "footer"); err != nil {
		return nil, err
	}
	return parseFooter(b, off, false)
}

// compareFooters holds a copy of the structure, at base, against the header.
func compareFooters(head, f *footer, base int64) error {
	for _, c := range []struct {
		field string
		off   int64
		same  bool
	}{
		{"cookie", 0, f.zvhd == head.zvhd},
		{"uuid", offUUID, f.uuid == head.uuid},
		{"timestamp", offTimestamp, f.timestamp == head.timestamp},
		{"orig_size", offOrigSize, f.origSize == head.origSize},
		{"curr_size", offCurrSize, f.currSize == head.currSize},
		{"block_size", offBlockSize, f.blockSize == head.blockSize},
		{"index_contains_zero_blk", offFullIndex, f.fullIndex == head.fullIndex},
		{"compress_method", offMethod, f.method == head.method},
	} {
		if !c.same {
			return fieldErr(base+c.off, c.field, ErrFormat, "differs from the header's")
		}
	}
	return nil
}

func (r *Reader) readBitmap() error {
	b := make([]byte, r.foot.bitmapSize) // part of the file: checkLayout
	if err := r.readFull(b, r.foot.bitmapLBA, "bitmap"); err != nil {
		return err
	}
	r.bitmap = newBitset(b)
	if n := r.bitmap.next(r.foot.maxBlk, int64(len(b))*8, true); n < int64(len(b))*8 {
		return blockErr(n, r.foot.bitmapLBA+n/8, "bitmap", ErrFormat, "bit set past the disk's end")
	}
	if r.bitmap.count != r.foot.nonZero {
		return fieldErr(r.foot.bitmapLBA, "bitmap", ErrFormat, "has %d bits set for %d stored blocks", r.bitmap.count, r.foot.nonZero)
	}
	return nil
}

// readFull reads what must be there. An I/O error stays one.
func (r *Reader) readFull(p []byte, off int64, what string) error {
	n, err := r.ra.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF || err == nil {
		return fieldErr(off+int64(n), what, ErrTruncated, "%d of %d bytes", n, len(p))
	}
	return fmt.Errorf("zvhd2: read %s at offset %d: %w", what, off, err)
}

// Size returns the bytes of the disk.
func (r *Reader) Size() int64 { return r.foot.origSize }

// Info returns what the container says of itself.
func (r *Reader) Info() Info {
	return Info{
		Size: r.foot.origSize, VirtualSize: r.foot.currSize, FileSize: r.size,
		BlockSize: r.foot.blockSize, Blocks: r.foot.maxBlk, StoredBlocks: r.foot.nonZero,
		Compression: r.foot.compression(), FullIndex: r.foot.fullIndex,
		UUID: r.foot.uuid, Created: r.foot.created(),
	}
}

// Blocks iterates over the stored blocks in ascending order. The index is read
// on the way; an error is the last thing yielded. It can be ranged over any
// number of times.
func (r *Reader) Blocks() iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		max := r.foot.maxBlk
		for b := r.bitmap.next(0, max, true); b < max; b = r.bitmap.next(b+1, max, true) {
			e, err := r.entryOf(b)
			if err != nil {
				yield(Block{}, err)
				return
			}
			if !yield(Block{
				Number: b, Offset: b * r.foot.blockSize, Length: r.blockLen(b),
				FileOffset: e.offset, FileLength: e.length,
			}, nil) {
				return
			}
		}
	}
}

// blockLen is the bytes of the disk in a block.
func (r *Reader) blockLen(block int64) int64 {
	return min(r.foot.blockSize, r.foot.origSize-block*r.foot.blockSize)
}

// NextData returns the first range of stored blocks that ends after off,
// clipped to off and the disk's size, or io.EOF when only zeros follow. It
// needs no I/O.
func (r *Reader) NextData(off int64) (start, end int64, err error) {
	if off < 0 {
		return 0, 0, fmt.Errorf("zvhd2: NextData: negative offset %d", off)
	}
	if off >= r.foot.origSize {
		return 0, 0, io.EOF
	}
	first := r.bitmap.next(off/r.foot.blockSize, r.foot.maxBlk, true)
	if first == r.foot.maxBlk {
		return 0, 0, io.EOF
	}
	last := r.bitmap.next(first, r.foot.maxBlk, false)
	return max(off, first*r.foot.blockSize), min(last*r.foot.blockSize, r.foot.origSize), nil
}

// ReadAt reads the disk at off.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("zvhd2: ReadAt: negative offset %d", off)
	}
	n := 0
	for n < len(p) {
		pos := off + int64(n)
		if pos >= r.foot.origSize {
			return n, io.EOF
		}
		block, skip := pos/r.foot.blockSize, pos%r.foot.blockSize
		part := p[n:min(int64(len(p)), int64(n)+r.blockLen(block)-skip)]
		if !r.bitmap.test(block) {
			clear(part)
		} else if err := r.copyBlock(part, block, skip); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// copyBlock copies from a stored block by way of the cache.
func (r *Reader) copyBlock(p []byte, block, skip int64) error {
	it := r.cache.get(block)
	it.once.Do(func() { it.data, it.err = r.decodeBlock(block) })
	if it.err != nil {
		r.cache.forget(it)
		return it.err
	}
	copy(p, it.data[skip:])
	return nil
}

func (r *Reader) decodeBlock(block int64) ([]byte, error) {
	d, err := r.decoder()
	if err != nil {
		return nil, err
	}
	defer r.decs.Put(d)
	e, err := r.entryOf(block)
	if err != nil {
		return nil, err
	}
	payload, err := r.readRecord(d, e)
	if err != nil {
		return nil, err
	}
	data := make([]byte, r.foot.blockSize)
	return data, expandErr(d.expand(data, payload), e)
}

func (r *Reader) decoder() (*decoder, error) {
	if d, ok := r.decs.Get().(*decoder); ok {
		return d, nil
	}
	return newDecoder(r.foot.method)
}
