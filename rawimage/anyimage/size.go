package anyimage

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/fastimage/fastimage/rawimage"
)

// knownSize returns the size that a compressed file says its content has, 0 if it
// does not say. That nobody has checked; but a wrong one is found when the content
// is read, and by then cost no more than that.
func knownSize(ctx context.Context, file *rawimage.Image, f rawimage.Format) int64 {
	var n int64
	var err error
	switch f {
	case rawimage.FormatXZ:
		n, err = xzSize(ctx, file, file.Size())
	case rawimage.FormatZstd:
		n, err = zstdSize(ctx, file, file.Size())
	}
	if err != nil || n < 0 {
		return 0 // what is wrong shows when it is decompressed
	}
	return n
}

var errNotTold = pkg.New("size is not told")

// zstdSize adds up the content sizes of all frames (RFC 8878, 3.1.1). Only the
// heads of the blocks are read, to come to the next frame.
func zstdSize(ctx context.Context, ra io.ReaderAt, size int64) (total int64, err error) {
	for pos := int64(0); pos < size; {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		var h zstd.Header
		head := make([]byte, min(zstd.HeaderMaxSize, size-pos))
		if _, err := ra.ReadAt(head, pos); err != nil && err != io.EOF {
			return 0, err
		}
		if err := h.Decode(head); err != nil {
			return 0, err
		}
		if h.Skippable {
			pos += int64(h.HeaderSize) + int64(h.SkippableSize)
			continue
		}
		if !h.HasFCS || h.FrameContentSize > MaxStreamSize || total > MaxStreamSize {
			return 0, errNotTold
		}
		total += int64(h.FrameContentSize)
		if pos, err = skipBlocks(ctx, ra, pos+int64(h.HeaderSize)); err != nil {
			return 0, err
		}
		if h.HasCheckSum {
			pos += 4
		}
	}
	return total, nil
}

// skipBlocks returns the end of the blocks that begin at pos.
func skipBlocks(ctx context.Context, ra io.ReaderAt, pos int64) (int64, error) {
	const typeRLE, typeReserved = 1, 3
	for ctx.Err() == nil {
		var b [4]byte
		if _, err := ra.ReadAt(b[:3], pos); err != nil {
			return 0, err
		}
		h := binary.LittleEndian.Uint32(b[:])
		pos += 3
		switch h >> 1 & 3 {
		case typeRLE:
			pos++
		case typeReserved:
			return 0, errNotTold
		default:
			pos += int64(h >> 3)
		}
		if h&1 != 0 {
			return pos, nil
		}
	}
	return 0, ctx.Err()
}

// xzSize adds up the sizes in the indexes of all streams of an xz file, from its
// end to its start (The .xz File Format, sections 2.1.2 and 4).
func xzSize(ctx context.Context, ra io.ReaderAt, size int64) (total int64, err error) {
	const headerSize, footerSize = 12, 12
	for end := size; end > 0; {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if end < headerSize+footerSize {
			return 0, errNotTold
		}
		var f [footerSize]byte
		if _, err := ra.ReadAt(f[:], end-footerSize); err != nil {
			return 0, err
		}
		if binary.LittleEndian.Uint32(f[8:]) == 0 { // padding: zeros in words of four bytes
			if end, err = skipPadding(ctx, ra, end); err != nil {
				return 0, err
			}
			continue
		}
		indexSize := (int64(binary.LittleEndian.Uint32(f[4:])) + 1) * 4
		at := end - footerSize - indexSize
		if string(f[10:]) != "YZ" || at < headerSize {
			return 0, errNotTold
		}
		packed, unpacked, err := xzIndex(bufio.NewReader(io.NewSectionReader(ra, at, indexSize)), at)
		if err != nil || total > MaxStreamSize {
			return 0, errNotTold
		}
		total += unpacked
		end = at - packed - headerSize
	}
	return total, nil
}

// skipPadding returns where the zeros before end begin, in words of four bytes.
func skipPadding(ctx context.Context, ra io.ReaderAt, end int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end >= 4 && ctx.Err() == nil {
		p := buf[:min(int64(len(buf)), end&^3)]
		if n, err := ra.ReadAt(p, end-int64(len(p))); n < len(p) {
			return 0, err
		}
		i := len(p)
		for i > 0 && binary.LittleEndian.Uint32(p[i-4:]) == 0 {
			i -= 4
		}
		end -= int64(len(p) - i)
		if i > 0 {
			return end, nil
		}
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return end, errNotTold
}

// zstdWindow returns the window of the first frame that needs more than limit, 0
// if there is none.
func zstdWindow(ctx context.Context, ra io.ReaderAt, size, limit int64) int64 {
	for pos := int64(0); pos < size && ctx.Err() == nil; {
		var h zstd.Header
		head := make([]byte, min(zstd.HeaderMaxSize, size-pos))
		if n, err := ra.ReadAt(head, pos); n < len(head) && err != nil {
			return 0
		}
		if h.Decode(head) != nil {
			return 0
		}
		if h.Skippable {
			pos += int64(h.HeaderSize) + int64(h.SkippableSize)
			continue
		}
		if need := max(h.WindowSize, map[bool]uint64{true: h.FrameContentSize}[h.SingleSegment]); need > uint64(limit) {
			return int64(min(need, 1<<62))
		}
		end, err := skipBlocks(ctx, ra, pos+int64(h.HeaderSize))
		if err != nil {
			return 0
		}
		pos = end
		if h.HasCheckSum {
			pos += 4
		}
	}
	return 0
}

// xzIndex returns the bytes that the blocks of a stream take in the file, not more
// than limit, and those they expand to.
func xzIndex(r *bufio.Reader, limit int64) (packed, unpacked int64, err error) {
	if b, err := r.ReadByte(); err != nil || b != 0 {
		return 0, 0, errNotTold
	}
	n, err := binary.ReadUvarint(r)
	for ; n > 0 && err == nil; n-- {
		var in, out uint64
		if in, err = binary.ReadUvarint(r); err == nil {
			out, err = binary.ReadUvarint(r)
		}
		if err != nil || in > uint64(limit) || out > MaxStreamSize {
			return 0, 0, errNotTold
		}
		packed += int64(in+3) &^ 3
		unpacked += int64(out)
		if packed > limit || unpacked > MaxStreamSize {
			return 0, 0, errNotTold
		}
	}
	return packed, unpacked, err
}
