package zvhd2

import (
	"encoding/binary"
	"math"
	"time"
)

const (
	footerSize = 512 // bytes; the rest of its page is padding

	cookieZVHD2 = "z2strm\x00\x00"
	cookieZVHD  = "stream\x00\x00"
	cookieLen   = 6 // readers compare no more than this

	featuresValue  = 2
	versionValue   = 0x00010000
	dataOffset     = math.MaxUint64
	creatorApp     = "tap\x00"
	creatorVersion = 0x00010004
	diskType       = 4
	zvhd2Version   = 1

	methodZlib = 0
	methodZstd = 1
)

// Offsets of the footer structure's fields.
const (
	offFeatures  = 8
	offVersion   = 12
	offDataOff   = 16
	offTimestamp = 24
	offCreator   = 28
	offCreatorV  = 32
	offCreatorOS = 36
	offOrigSize  = 40
	offCurrSize  = 48
	offGeometry  = 56
	offDiskType  = 60
	offChecksum  = 64
	offUUID      = 68
	offSaved     = 84
	offHidden    = 85
	offAlign64   = 86
	offZVersion  = 87
	offBlockSize = 88
	offMaxBlk    = 92
	offIndexLBA  = 96
	offBitmapLBA = 104
	offIndexSize = 112
	offBitmapSz  = 116
	offIndexSeg  = 120
	offBitmapSeg = 124
	offIndexNum  = 128
	offBitmapNum = 132
	offNonZero   = 136
	offFullIndex = 140
	offMethod    = 141
)

// epoch is what timestamps count seconds from.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// footer is the structure at the start, after the records and at the end of a
// container.
type footer struct {
	zvhd       bool // the predecessor's cookie, nothing from zvhd2_version on
	timestamp  uint32
	origSize   int64
	currSize   int64
	geometry   uint32
	uuid       [16]byte
	blockSize  int64
	maxBlk     int64
	indexLBA   int64
	bitmapLBA  int64
	indexSize  int64
	bitmapSize int64
	indexSeg   uint32
	bitmapSeg  uint32
	indexNum   int64
	bitmapNum  int64
	nonZero    int64
	fullIndex  bool
	method     byte
}

// newFooter returns the structure as the header of a disk has it.
func newFooter(diskSize int64, uuid [16]byte, timestamp uint32) footer {
	orig := roundUp(diskSize, sectorSize)
	return footer{
		timestamp: timestamp,
		origSize:  orig,
		currSize:  roundUp(orig, virtualAlign),
		geometry:  geometry(orig),
		uuid:      uuid,
		blockSize: BlockSize,
		maxBlk:    ceilDiv(orig, BlockSize),
		method:    methodZstd,
	}
}

// encode returns the structure padded to a page, with its checksum.
func (f *footer) encode() []byte {
	b := make([]byte, pageSize)
	le := binary.LittleEndian
	copy(b, cookieZVHD2)
	le.PutUint32(b[offFeatures:], featuresValue)
	le.PutUint32(b[offVersion:], versionValue)
	le.PutUint64(b[offDataOff:], dataOffset)
	le.PutUint32(b[offTimestamp:], f.timestamp)
	copy(b[offCreator:], creatorApp)
	le.PutUint32(b[offCreatorV:], creatorVersion)
	le.PutUint64(b[offOrigSize:], uint64(f.origSize))
	le.PutUint64(b[offCurrSize:], uint64(f.currSize))
	le.PutUint32(b[offGeometry:], f.geometry)
	le.PutUint32(b[offDiskType:], diskType)
	copy(b[offUUID:], f.uuid[:])
	b[offZVersion] = zvhd2Version
	le.PutUint32(b[offBlockSize:], uint32(f.blockSize))
	le.PutUint32(b[offMaxBlk:], uint32(f.maxBlk))
	le.PutUint64(b[offIndexLBA:], uint64(f.indexLBA))
	le.PutUint64(b[offBitmapLBA:], uint64(f.bitmapLBA))
	le.PutUint32(b[offIndexSize:], uint32(f.indexSize))
	le.PutUint32(b[offBitmapSz:], uint32(f.bitmapSize))
	le.PutUint32(b[offIndexSeg:], f.indexSeg)
	le.PutUint32(b[offBitmapSeg:], f.bitmapSeg)
	le.PutUint32(b[offIndexNum:], uint32(f.indexNum))
	le.PutUint32(b[offBitmapNum:], uint32(f.bitmapNum))
	le.PutUint32(b[offNonZero:], uint32(f.nonZero))
	if f.fullIndex {
		b[offFullIndex] = 1
	}
	b[offMethod] = f.method
	le.PutUint32(b[offChecksum:], checksum(b))
	return b
}

// checksum is the bitwise NOT of the sum of the structure's bytes, its own
// field taken as zero.
func checksum(b []byte) uint32 {
	var sum uint32
	for i, c := range b[:footerSize] {
		if i < offChecksum || i >= offUUID {
			sum += uint32(c)
		}
	}
	return ^sum
}

// parseFooter reads the structure at file offset base. What it checks applies to
// every copy. With stale the checksum may be wrong, as the vendor's tool leaves it
// in the copy after the records.
func parseFooter(b []byte, base int64, stale bool) (*footer, error) {
	zvhd, err := parseCookie(b, base)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if got, want := le.Uint32(b[offChecksum:]), checksum(b); got != want && !stale && !validWithoutHidden(b) {
		return nil, format.Damaged(base+offChecksum, "checksum", "is %#08x, the contents give %#08x", got, want)
	}
	if v := le.Uint32(b[offVersion:]); v>>16 != versionValue>>16 {
		return nil, format.Unsupported(base+offVersion, "file_format_version", "is %#08x", v)
	}
	f := &footer{
		zvhd:      zvhd,
		timestamp: le.Uint32(b[offTimestamp:]),
		geometry:  le.Uint32(b[offGeometry:]),
		blockSize: BlockSize,
	}
	copy(f.uuid[:], b[offUUID:])
	if err := f.parseSizes(b, base); err != nil {
		return nil, err
	}
	if zvhd {
		f.maxBlk = ceilDiv(f.origSize, BlockSize)
		return f, nil
	}
	return f, f.parseLayout(b, base)
}

// validWithoutHidden reports whether the checksum was taken before the field
// hidden was set, as two early versions of the vendor's tool do.
func validWithoutHidden(b []byte) bool {
	v := binary.LittleEndian.Uint32(b[offCreatorV:])
	if b[offHidden] == 0 || v != 0x00000001 && v != 0x00010001 {
		return false
	}
	return binary.LittleEndian.Uint32(b[offChecksum:]) == checksum(b)+uint32(b[offHidden])
}

func parseCookie(b []byte, base int64) (zvhd bool, err error) {
	switch string(b[:cookieLen]) {
	case cookieZVHD2[:cookieLen]:
		return false, nil
	case cookieZVHD[:cookieLen]:
		return true, nil
	}
	return false, format.Damaged(base, "cookie", "is %q", b[:8])
}

// parseSizes reads what both formats share about the disk's size and nature.
func (f *footer) parseSizes(b []byte, base int64) error {
	le := binary.LittleEndian
	if t := le.Uint32(b[offDiskType:]); t != diskType {
		return format.Unsupported(base+offDiskType, "disk_type", "is %d, want %d", t, diskType)
	}
	orig, curr := le.Uint64(b[offOrigSize:]), le.Uint64(b[offCurrSize:])
	if orig == 0 || orig > MaxDiskSize || orig%sectorSize != 0 {
		return format.Damaged(base+offOrigSize, "orig_size", "is %d: not a whole number of sectors up to 64 TiB", orig)
	}
	if curr < orig || curr > MaxDiskSize || curr%sectorSize != 0 {
		return format.Damaged(base+offCurrSize, "curr_size", "is %d for a disk of %d bytes", curr, orig)
	}
	f.origSize, f.currSize = int64(orig), int64(curr)
	return nil
}

// parseLayout reads the fields that only ZVHD2 has.
func (f *footer) parseLayout(b []byte, base int64) error {
	le := binary.LittleEndian
	if v := b[offZVersion]; v != zvhd2Version {
		return format.Unsupported(base+offZVersion, "zvhd2_version", "is %d, want %d", v, zvhd2Version)
	}
	bs := le.Uint32(b[offBlockSize:])
	if bs < minBlockSize || bs > maxBlockSize || bs&(bs-1) != 0 {
		return format.Unsupported(base+offBlockSize, "block_size", "is %d: not a power of two from 1 to 32 MiB", bs)
	}
	f.blockSize = int64(bs)
	f.maxBlk = int64(le.Uint32(b[offMaxBlk:]))
	if want := ceilDiv(f.origSize, f.blockSize); f.maxBlk != want {
		return format.Damaged(base+offMaxBlk, "max_blk_num", "is %d, the disk has %d blocks", f.maxBlk, want)
	}
	if v := b[offFullIndex]; v > 1 {
		return format.Damaged(base+offFullIndex, "index_contains_zero_blk", "is %d", v)
	}
	f.fullIndex = b[offFullIndex] == 1
	f.method = b[offMethod]
	if f.method > methodZstd {
		return format.Unsupported(base+offMethod, "compress_method", "is %d", f.method)
	}
	f.indexLBA = clampInt64(le.Uint64(b[offIndexLBA:]))
	f.bitmapLBA = clampInt64(le.Uint64(b[offBitmapLBA:]))
	f.indexSize = int64(le.Uint32(b[offIndexSize:]))
	f.bitmapSize = int64(le.Uint32(b[offBitmapSz:]))
	f.indexSeg = le.Uint32(b[offIndexSeg:])
	f.bitmapSeg = le.Uint32(b[offBitmapSeg:])
	f.indexNum = int64(le.Uint32(b[offIndexNum:]))
	f.bitmapNum = int64(le.Uint32(b[offBitmapNum:]))
	f.nonZero = int64(le.Uint32(b[offNonZero:]))
	return nil
}

// checkLayout compares the index footer, which ends a file of size bytes, with
// the file's length; nothing may be allocated from its fields before.
func (f *footer) checkLayout(size int64) error {
	base := size - pageSize
	for _, c := range []struct {
		field     string
		off       int64
		got, want int64
	}{
		{"index_seg_size", offIndexSeg, int64(f.indexSeg), indexSegSize},
		{"bitmap_seg_size", offBitmapSeg, int64(f.bitmapSeg), bitmapSegSize},
		{"index_seg_num", offIndexNum, f.indexNum, ceilDiv(f.entries(), segmentBlocks)},
		{"bitmap_seg_num", offBitmapNum, f.bitmapNum, ceilDiv(f.maxBlk, segmentBlocks)},
		{"index_size", offIndexSize, f.indexSize, f.indexNum * indexSegSize},
		{"bitmap_size", offBitmapSz, f.bitmapSize, f.bitmapNum * bitmapSegSize},
		{"bitmap_lba", offBitmapLBA, f.bitmapLBA, base - f.bitmapNum*bitmapSegSize},
		{"index_lba", offIndexLBA, f.indexLBA, base - f.bitmapNum*bitmapSegSize - f.indexNum*indexSegSize},
	} {
		if c.got != c.want {
			return format.Damaged(base+c.off, c.field, "is %d, want %d", c.got, c.want)
		}
	}
	// The header and the copy after the records come before the index, and
	// every stored block takes at least one page between them.
	if room := f.indexLBA/pageSize - 2; f.nonZero > f.maxBlk || f.nonZero > room {
		return format.Damaged(base+offNonZero, "non_zero_blk_num", "is %d of %d blocks in room for %d", f.nonZero, f.maxBlk, room)
	}
	return nil
}

// compareFooters compares a copy of the structure, at base, with the header,
// which may be nil.
func compareFooters(head, f *footer, base int64) error {
	if head == nil {
		return nil
	}
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
			return format.Damaged(base+c.off, c.field, "differs from the header's")
		}
	}
	return nil
}

// eodOffset returns the offset of the copy after the records.
func (f *footer) eodOffset() int64 { return f.indexLBA - pageSize }

// blockLen returns the bytes of the disk in a block; the last block may be short.
func (f *footer) blockLen(block int64) int64 {
	return min(f.blockSize, f.origSize-block*f.blockSize)
}

// entries returns how many entries the index has.
func (f *footer) entries() int64 {
	if f.fullIndex {
		return f.maxBlk
	}
	return f.nonZero
}

// name returns the name of the format.
func (f *footer) name() string {
	if f.zvhd {
		return "zvhd"
	}
	return "zvhd2"
}

// created returns the time of creation that the container carries.
func (f *footer) created() time.Time { return epoch.Add(time.Duration(f.timestamp) * time.Second) }

// compression returns the name of the method.
func (f *footer) compression() string {
	if f.zvhd || f.method == methodZlib {
		return "zlib"
	}
	return "zstd"
}

// maxPayload is the largest payload that is read, in bytes: twice the block leaves
// room for any waste of a foreign compressor, and bounds the buffer.
func (f *footer) maxPayload() int64 { return 2 * f.blockSize }

// geometry returns the CHS triple of a disk of size bytes by the VHD algorithm.
func geometry(size int64) uint32 { return geometryOf(ceilDiv(size, sectorSize)) }

// vendorGeometry is geometry as the vendor's tool computes it: it truncates the
// number of sectors to 32 bits first, so that disks of 2 TiB and more may differ.
func vendorGeometry(size int64) uint32 { return geometryOf(int64(uint32(ceilDiv(size, sectorSize)))) }

func geometryOf(sectors int64) uint32 {
	s := min(max(1, sectors), 65535*16*255)
	var cth, heads, spt int64
	if s >= 65535*16*63 {
		spt, heads, cth = 255, 16, s/255
	} else {
		spt, cth = 17, s/17
		heads = max(4, ceilDiv(cth, 1024))
		if cth >= heads*1024 || heads > 16 {
			spt, heads, cth = 31, 16, s/31
		}
		if cth >= heads*1024 {
			spt, heads, cth = 63, 16, s/63
		}
	}
	return uint32(cth/heads)<<16 | uint32(heads)<<8 | uint32(spt)
}
