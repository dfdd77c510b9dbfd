package imstest

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"

	"github.com/klauspost/compress/zstd"
)

// The checker below follows the layout of the format and deliberately shares no
// code with package zvhd2, so that a mistake made there is not made here too: a
// test that imports an image would otherwise pass with any encoder whose output
// the same package can read.
//
// It accepts what the vendor's writer leaves dirty, none of which is read here:
// bytes 512 to 4095 of the footers, record padding, the reserved part of a
// record's header, unused index entries, the geometry, and the checksum of the
// end-of-data footer.
const (
	pageSize4K  = 4096
	indexSeg    = 512 << 10
	segBlocks   = 32768
	recordHead  = 48
	recordTail  = 4
	maxBlkSize  = 32 << 20
	maxRecord   = 4202496 // the record buffer of the published reader, which does not check lengths against it
	recordMagic = "hwstream bg\x00"
)

type zfooter struct {
	orig, curr, indexLBA, bitmapLBA                              uint64
	blockSize, blocks, indexSize, bitmapSize, iseg, bseg, stored uint32
	full, zstd                                                   bool
	uuid                                                         [16]byte
}

func damaged(off int64, format string, args ...any) error {
	return fmt.Errorf("zvhd2 at %d: %s", off, fmt.Sprintf(format, args...))
}

func readFooter(r io.ReaderAt, off int64, sum bool) (*zfooter, error) {
	b := make([]byte, 512)
	if _, err := r.ReadAt(b, off); err != nil {
		return nil, damaged(off, "footer cannot be read: %v", err)
	}
	le := binary.LittleEndian
	if !bytes.HasPrefix(b, []byte("z2strm")) {
		return nil, damaged(off, "cookie missing")
	}
	if sum && !validSum(b) {
		return nil, damaged(off, "footer checksum wrong")
	}
	if le.Uint32(b[12:]) != 0x10000 || b[87] != 1 || b[140] > 1 || b[141] > 1 {
		return nil, damaged(off, "version or method not supported")
	}
	f := &zfooter{orig: le.Uint64(b[40:]), curr: le.Uint64(b[48:]), blockSize: le.Uint32(b[88:]), blocks: le.Uint32(b[92:]),
		indexLBA: le.Uint64(b[96:]), bitmapLBA: le.Uint64(b[104:]), indexSize: le.Uint32(b[112:]), bitmapSize: le.Uint32(b[116:]),
		iseg: le.Uint32(b[128:]), bseg: le.Uint32(b[132:]), stored: le.Uint32(b[136:]), full: b[140] == 1, zstd: b[141] == 1}
	copy(f.uuid[:], b[68:84])
	return f, nil
}

// validSum reports whether a footer's checksum is right. Creator versions 0.1
// and 1.1 took it before they set "hidden".
func validSum(b []byte) bool {
	le := binary.LittleEndian
	var s uint32
	for i, c := range b {
		if i < 64 || i >= 68 {
			s += uint32(c)
		}
	}
	want, creator := le.Uint32(b[64:]), le.Uint32(b[32:])
	return ^s == want || (creator == 0x00000001 || creator == 0x00010001) && ^(s-uint32(b[85])) == want
}

// layout checks the last footer's numbers against each other and the file length.
func (f *zfooter) layout(size int64) error {
	bs := uint64(f.blockSize)
	want := uint64(f.stored)
	if f.full {
		want = uint64(f.blocks)
	}
	seg := func(n uint64) uint64 { return (n + segBlocks - 1) / segBlocks }
	switch {
	case bs < 1<<20 || bs > maxBlkSize || bits.OnesCount64(bs) != 1:
		return damaged(size-pageSize4K, "block size %d", bs)
	case f.orig == 0 || f.orig%512 != 0 || f.orig > maxImage:
		return damaged(size-pageSize4K, "disk size %d", f.orig)
	case f.curr != (f.orig+1<<30-1)>>30<<30:
		return damaged(size-pageSize4K, "current size %d", f.curr)
	case uint64(f.blocks) != (f.orig+bs-1)/bs || f.stored > f.blocks:
		return damaged(size-pageSize4K, "%d blocks, %d stored", f.blocks, f.stored)
	case uint64(f.iseg) != seg(want) || f.indexSize != f.iseg*indexSeg:
		return damaged(size-pageSize4K, "index size %d", f.indexSize)
	case uint64(f.bseg) != seg(uint64(f.blocks)) || f.bitmapSize != f.bseg*pageSize4K:
		return damaged(size-pageSize4K, "bitmap size %d", f.bitmapSize)
	case f.bitmapLBA != f.indexLBA+uint64(f.indexSize) || f.bitmapLBA+uint64(f.bitmapSize)+pageSize4K != uint64(size):
		return damaged(size-pageSize4K, "index at %d and bitmap at %d do not fit the file of %d bytes", f.indexLBA, f.bitmapLBA, size)
	}
	return nil
}

// checkZVHD2 reads the container to its last byte and expands every block.
func checkZVHD2(ctx context.Context, r io.ReaderAt, size int64, progress func(done, total int64)) error {
	f, err := readFooters(r, size)
	if err != nil {
		return err
	}
	bitmap, err := readTable(r, "bitmap", f.bitmapLBA, f.bitmapSize)
	if err != nil {
		return err
	}
	index, err := readTable(r, "index", f.indexLBA, f.indexSize)
	if err != nil {
		return err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*maxBlkSize))
	if err != nil {
		return err
	}
	defer dec.Close()
	w := &zwalk{f: f, r: r, dec: dec, index: index, out: make([]byte, 0, f.blockSize), at: pageSize4K}
	for b := range uint32(len(bitmap) * 8) {
		if bitmap[b/8]>>(b%8)&1 == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.block(b); err != nil {
			return err
		}
		progress(w.at, size)
	}
	return w.end()
}

// readFooters reads header and last footer and checks them against each other
// and the file length, so that the sizes they give can be allocated.
func readFooters(r io.ReaderAt, size int64) (*zfooter, error) {
	if size%pageSize4K != 0 || size < 3*pageSize4K {
		return nil, damaged(size, "file length is not a container's")
	}
	head, err := readFooter(r, 0, true)
	if err != nil {
		return nil, err
	}
	f, err := readFooter(r, size-pageSize4K, true)
	if err != nil {
		return nil, err
	}
	if err := f.layout(size); err != nil {
		return nil, err
	}
	if head.uuid != f.uuid || head.orig != f.orig || head.blockSize != f.blockSize {
		return nil, damaged(0, "header and footer disagree")
	}
	return f, nil
}

func readTable(r io.ReaderAt, name string, off uint64, size uint32) ([]byte, error) {
	b := make([]byte, size)
	if n, err := r.ReadAt(b, int64(off)); n < len(b) {
		return nil, damaged(int64(off), "%s cannot be read: %v", name, err)
	}
	return b, nil
}

// end checks what follows the last record.
func (w *zwalk) end() error {
	if w.n != w.f.stored {
		return damaged(int64(w.f.bitmapLBA), "bitmap marks %d blocks, footer says %d", w.n, w.f.stored)
	}
	// The checksum of this copy is stale in files of the vendor's tool.
	if _, err := readFooter(w.r, w.at, false); err != nil {
		return err
	}
	if uint64(w.at)+pageSize4K != w.f.indexLBA {
		return damaged(w.at, "index does not follow the data")
	}
	return nil
}

type zwalk struct {
	f        *zfooter
	r        io.ReaderAt
	dec      *zstd.Decoder
	index    []byte
	rec, out []byte
	at       int64
	n        uint32
}

func (w *zwalk) block(b uint32) error {
	if b >= w.f.blocks || w.n >= w.f.stored {
		return damaged(int64(w.f.bitmapLBA), "bitmap marks block %d of %d", b, w.f.blocks)
	}
	e := w.n
	if w.f.full {
		e = b
	}
	ent := w.index[e*16:]
	off, num, length := binary.LittleEndian.Uint64(ent), binary.LittleEndian.Uint32(ent[8:]), binary.LittleEndian.Uint32(ent[12:])
	if off != uint64(w.at) || num != b {
		return damaged(w.at, "index says block %d at %d, expected block %d", num, off, b)
	}
	if length == 0 || length%pageSize4K != 0 || length > maxRecord || off+uint64(length) > w.f.indexLBA {
		return damaged(w.at, "record of %d bytes", length)
	}
	if cap(w.rec) < int(length) {
		w.rec = make([]byte, length)
	}
	rec := w.rec[:length]
	if _, err := w.r.ReadAt(rec, w.at); err != nil {
		return damaged(w.at, "block %d cannot be read: %v", b, err)
	}
	n := binary.LittleEndian.Uint32(rec[12:])
	want := (uint64(n) + recordHead + recordTail + pageSize4K - 1) / pageSize4K * pageSize4K
	if string(rec[:12]) != recordMagic || string(rec[length-4:]) != "end\x00" || binary.LittleEndian.Uint32(rec[16:]) != b || want != uint64(length) {
		return damaged(w.at, "record of block %d is damaged", b)
	}
	if err := w.expand(rec[recordHead : recordHead+n]); err != nil {
		return damaged(w.at, "block %d does not expand: %v", b, err)
	}
	w.at += int64(length)
	w.n++
	return nil
}

func (w *zwalk) expand(p []byte) error {
	bs := int(w.f.blockSize)
	if w.f.zstd {
		var h zstd.Header
		if err := h.Decode(p); err != nil {
			return err
		}
		if h.HasFCS && h.FrameContentSize > uint64(bs) {
			return fmt.Errorf("expands to %d bytes", h.FrameContentSize)
		}
		out, err := w.dec.DecodeAll(p, w.out[:0])
		if err == nil && len(out) != bs {
			err = fmt.Errorf("expands to %d bytes", len(out))
		}
		return err
	}
	// Each payload is a stream without an end: exactly one block is read from it.
	if len(p) < 2 || p[0]&15 != 8 || (int(p[0])<<8|int(p[1]))%31 != 0 {
		return fmt.Errorf("not a zlib stream")
	}
	_, err := io.ReadFull(flate.NewReader(bytes.NewReader(p[2:])), w.out[:bs])
	return err
}
