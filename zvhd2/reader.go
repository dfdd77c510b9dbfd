package zvhd2

import (
	"io"
	"iter"
	"os"
	"sync"
	"time"

	"github.com/fastimage/fastimage/internal/lru"
)

// Reader reads the disk in a container. It is safe for concurrent use.
type Reader struct {
	file    file
	foot    *footer
	tables  *tables
	cache   *lru.Cache[int64, []byte] // decompressed blocks by number
	readers sync.Pool                 // of *blockReader
	closer  io.Closer
}

// Info describes a container.
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
// index footer and the bitmap; the index is read when a block is first needed,
// 512 KiB for each 64 GiB of data. Every field is compared with size before
// anything is allocated from it.
//
// NewReader uses [WithCacheSize].
func NewReader(ra io.ReaderAt, size int64, opts ...Option) (*Reader, error) {
	o, err := newOptions(opts, optCacheSize)
	if err != nil {
		return nil, err
	}
	f, err := newFile(ra, size)
	if err != nil {
		return nil, err
	}
	return newReader(f, o.cacheSize)
}

func newReader(f file, cacheSize int64) (*Reader, error) {
	head, err := f.header()
	if err != nil {
		return nil, err
	}
	if head.zvhd {
		return nil, format.Unsupported(0, "cookie", "ZVHD is read in sequence: use NewStreamReader")
	}
	foot, err := f.indexFooter(head)
	if err != nil {
		return nil, err
	}
	t, err := newTables(f, foot)
	if err != nil {
		return nil, err
	}
	return &Reader{file: f, foot: foot, tables: t, cache: lru.New[int64, []byte](cacheSize)}, nil
}

// Open opens the named regular file with [NewReader]; the caller closes the
// Reader.
func Open(name string, opts ...Option) (*Reader, error) {
	// Opening a pipe would wait for a writer.
	st, err := os.Stat(name)
	if err == nil && !st.Mode().IsRegular() {
		return nil, invalid("%s is not a regular file", name)
	}
	if err != nil {
		return nil, pkg.Errorf("%w", err)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, pkg.Errorf("%w", err)
	}
	st, err = f.Stat()
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

// Size returns the bytes of the disk.
func (r *Reader) Size() int64 { return r.foot.origSize }

// Info describes the container.
func (r *Reader) Info() Info {
	info := r.foot.info()
	info.FileSize, info.StoredBlocks = r.file.size, r.foot.nonZero
	return info
}

// info returns what a header knows.
func (f *footer) info() Info {
	return Info{
		Size: f.origSize, VirtualSize: f.currSize, BlockSize: f.blockSize, Blocks: f.maxBlk,
		Compression: f.compression(), FullIndex: f.fullIndex, UUID: f.uuid, Created: f.created(),
	}
}

// Blocks iterates over the stored blocks in ascending order. The index is read
// on the way; an error is the last thing yielded. It can be ranged over any
// number of times.
func (r *Reader) Blocks() iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		err := r.tables.entries(func(e entry) error {
			if !yield(r.foot.block(e), nil) {
				return errStop
			}
			return nil
		})
		if err != nil && err != errStop {
			yield(Block{}, err)
		}
	}
}

// errStop ends an iteration whose caller has had enough.
var errStop = pkg.New("iteration stopped")

// block describes the block at e.
func (f *footer) block(e entry) Block {
	return Block{
		Number: e.block, Offset: e.block * f.blockSize, Length: f.blockLen(e.block),
		FileOffset: e.offset, FileLength: e.length,
	}
}

// NextData returns the first range of stored blocks that ends after off,
// clipped to off and the disk's size, or io.EOF when only zeros follow. It
// needs no I/O.
func (r *Reader) NextData(off int64) (start, end int64, err error) {
	if off < 0 {
		return 0, 0, invalid("NextData at offset %d", off)
	}
	if off >= r.foot.origSize {
		return 0, 0, io.EOF
	}
	bs, bitmap := r.foot.blockSize, r.tables.bitmap
	first := bitmap.next(off/bs, r.foot.maxBlk, true)
	if first == r.foot.maxBlk {
		return 0, 0, io.EOF
	}
	last := bitmap.next(first, r.foot.maxBlk, false)
	return max(off, first*bs), min(last*bs, r.foot.origSize), nil
}

// ReadAt reads the disk at off.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, invalid("ReadAt at offset %d", off)
	}
	n := 0
	for n < len(p) {
		if off >= r.foot.origSize {
			return n, io.EOF
		}
		block, skip := off/r.foot.blockSize, off%r.foot.blockSize
		part := p[n:min(int64(len(p)), int64(n)+r.foot.blockLen(block)-skip)]
		if !r.tables.bitmap.test(block) {
			clear(part)
		} else {
			data, err := r.cache.Get(block, r.foot.blockSize, func() ([]byte, error) { return r.readBlock(block) })
			if err != nil {
				return n, err
			}
			copy(part, data[skip:])
		}
		n, off = n+len(part), off+int64(len(part))
	}
	return n, nil
}

func (r *Reader) readBlock(block int64) ([]byte, error) {
	e, err := r.tables.entry(block)
	if err != nil {
		return nil, err
	}
	br, ok := r.readers.Get().(*blockReader)
	if !ok {
		if br, err = newBlockReader(r.file, r.foot); err != nil {
			return nil, err
		}
	}
	defer r.readers.Put(br)
	data := make([]byte, r.foot.blockSize)
	_, err = br.read(e, data)
	return data, err
}
