package qcow2

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
)

// header is the header with its extensions, checked.
type header struct {
	version       int
	rawSize       uint64 // as it stands there
	size          int64  // whole sectors of it
	geo           geometry
	crypt         uint32
	l1Offset      int64
	l1Size        int64
	numSnapshots  uint32
	snapshots     int64
	incompatible  uint64
	compatible    uint64
	autoclear     uint64
	refcountOrder uint32
	length        int64
	compression   byte

	backingFile   string
	backingFormat string
	dataFile      string
	featureNames  map[[2]byte]string // by type and bit
}

// parseHeader reads and checks the header. What it reads is in the first
// cluster, so that is all it takes into memory.
func parseHeader(ra io.ReaderAt, size int64) (*header, error) {
	fixed := make([]byte, min(size, offCompression+8))
	if err := readFull(ra, fixed, 0); err != nil {
		return nil, err
	}
	h := new(header)
	for _, parse := range []func([]byte) error{h.parseStart, h.parseFeatures, h.parseCompression} {
		if err := parse(fixed); err != nil {
			return nil, err
		}
	}
	first := make([]byte, min(size, h.geo.clusterSize))
	if err := readFull(ra, first, 0); err != nil {
		return nil, err
	}
	if err := h.parseExtensions(first); err != nil {
		return nil, err
	}
	if err := h.checkFeatures(); err != nil {
		return nil, err
	}
	return h, h.parseTables(fixed)
}

// parseStart takes what both versions have and what decides about the rest.
func (h *header) parseStart(b []byte) error {
	if len(b) < 8 || binary.BigEndian.Uint32(b) != qcowMagic {
		return format.Damaged(0, "magic", "not a QCOW image")
	}
	switch v := binary.BigEndian.Uint32(b[offVersion:]); v {
	case 1:
		return format.Unsupported(offVersion, "version", "QCOW version 1")
	case 2, 3:
		h.version = int(v)
	default:
		return format.Unsupported(offVersion, "version", "QCOW version %d", v)
	}
	h.length = headerLen2
	if h.version == 3 {
		h.length = headerLen3
	}
	if int64(len(b)) < h.length {
		return format.Truncated(int64(len(b)), "header", "file ends in it: %w", io.ErrUnexpectedEOF)
	}
	cb := binary.BigEndian.Uint32(b[offClusterBits:])
	if cb < minClusterBits || cb > maxClusterBits {
		return format.Damaged(offClusterBits, "cluster_bits", "%d is not in %d..%d", cb, minClusterBits, maxClusterBits)
	}
	h.geo = newGeometry(uint(cb), false)
	h.crypt = binary.BigEndian.Uint32(b[offCrypt:])
	return nil
}

// parseFeatures takes the fields of version 3.
func (h *header) parseFeatures(b []byte) error {
	h.refcountOrder = 4
	if h.version < 3 {
		return nil
	}
	h.incompatible = binary.BigEndian.Uint64(b[offIncompatible:])
	h.compatible = binary.BigEndian.Uint64(b[offCompatible:])
	h.autoclear = binary.BigEndian.Uint64(b[offAutoclear:])
	h.refcountOrder = binary.BigEndian.Uint32(b[offRefcountOrder:])
	if h.refcountOrder > 6 {
		return format.Damaged(offRefcountOrder, "refcount_order", "%d is more than 6", h.refcountOrder)
	}
	h.length = int64(binary.BigEndian.Uint32(b[offHeaderLen:]))
	if h.length < headerLen3 || h.length > h.geo.clusterSize {
		return format.Damaged(offHeaderLen, "header_length", "%d is not in %d..%d", h.length, headerLen3, h.geo.clusterSize)
	}
	if h.incompatible&featExtendedL2 != 0 {
		if h.geo.clusterBits < minExtL2Bits {
			return format.Damaged(offClusterBits, "cluster_bits", "%d is less than the %d of extended L2 entries", h.geo.clusterBits, minExtL2Bits)
		}
		h.geo = newGeometry(h.geo.clusterBits, true)
	}
	return nil
}

// parseCompression takes the compression type, whose place may be beyond the
// header's end.
func (h *header) parseCompression(b []byte) error {
	if h.length > offCompression && len(b) > offCompression {
		h.compression = b[offCompression]
	}
	marked := h.incompatible&featCompression != 0
	switch {
	case marked && h.compression == compressionZlib, !marked && h.compression != compressionZlib:
		return format.Damaged(offCompression, "compression_type", "type %d contradicts the incompatible feature bit", h.compression)
	case h.compression > compressionZstd:
		return format.Unsupported(offCompression, "compression_type", "compression type %d", h.compression)
	}
	return nil
}

// parseExtensions takes the header extensions and the name of the backing
// file from the first cluster.
func (h *header) parseExtensions(first []byte) error {
	nameOff := binary.BigEndian.Uint64(first[offBackingOffset:])
	end := int64(len(first))
	if nameOff != 0 {
		if nameOff > uint64(len(first)) {
			return format.Damaged(offBackingOffset, "backing_file_offset", "%d is beyond the first cluster", nameOff)
		}
		end = int64(nameOff)
		n := binary.BigEndian.Uint32(first[offBackingSize:])
		if n > maxBackingName || int64(n) > int64(len(first))-end {
			return format.Damaged(offBackingSize, "backing_file_size", "%d is more than there is room for", n)
		}
		h.backingFile = string(first[end : end+int64(n)])
		if strings.ContainsRune(h.backingFile, 0) {
			return format.Damaged(end, "backing file name", "zero byte in it")
		}
	}
	for off := h.length; off+8 <= end; {
		kind := binary.BigEndian.Uint32(first[off:])
		n := int64(binary.BigEndian.Uint32(first[off+4:]))
		if kind == extEnd {
			break
		}
		if n > end-off-8 {
			return format.Damaged(off+4, "header extension length", "%d is beyond the header", n)
		}
		if err := h.extension(kind, first[off+8:off+8+n], off); err != nil {
			return err
		}
		off += 8 + (n+7)&^7
	}
	return nil
}

func (h *header) extension(kind uint32, data []byte, off int64) error {
	switch kind {
	case extBackingFormat:
		if len(data) > maxFormatName {
			return format.Damaged(off+4, "backing format name", "%d bytes are too many", len(data))
		}
		h.backingFormat = string(data)
	case extDataFile:
		if len(data) > maxDataName || strings.ContainsRune(string(data), 0) {
			return format.Damaged(off+4, "external data file name", "%d bytes, too many or with a zero byte", len(data))
		}
		h.dataFile = string(data)
	case extFeatureNames:
		h.featureNames = make(map[[2]byte]string)
		for ; len(data) >= 48; data = data[48:] {
			h.featureNames[[2]byte(data)] = clean(strings.TrimRight(string(data[2:48]), "\x00"))
		}
	}
	return nil
}

// checkFeatures refuses what cannot be read, by name.
func (h *header) checkFeatures() error {
	if unknown := h.incompatible &^ featKnown; unknown != 0 {
		var names []string
		for ; unknown != 0; unknown &= unknown - 1 {
			names = append(names, h.featureName(0, lowestBit(unknown)))
		}
		return format.Unsupported(offIncompatible, "incompatible_features", "%s", strings.Join(names, ", "))
	}
	switch h.crypt {
	case 0:
	case 1:
		return format.New(ErrEncrypted, offCrypt, "crypt_method", "AES encryption")
	case 2:
		return format.New(ErrEncrypted, offCrypt, "crypt_method", "LUKS encryption")
	default:
		return format.New(ErrEncrypted, offCrypt, "crypt_method", "encryption method %d", h.crypt)
	}
	if h.backingFile != "" && h.incompatible&featDataFile != 0 && h.autoclear&autoclearRawData != 0 {
		return format.Damaged(offAutoclear, "autoclear_features", "raw external data file together with a backing file")
	}
	return nil
}

// parseTables takes the size of the disk and the place of the L1 table.
func (h *header) parseTables(b []byte) error {
	h.rawSize = binary.BigEndian.Uint64(b[offSize:])
	if h.rawSize > math.MaxInt64 {
		return format.Damaged(offSize, "size", "%d is more than a disk can have", h.rawSize)
	}
	// QEMU counts the disk in sectors and drops what is left of the last.
	h.size = int64(h.rawSize) &^ (sectorSize - 1)
	h.l1Size = int64(binary.BigEndian.Uint32(b[offL1Size:]))
	if h.l1Size > maxL1Bytes/8 {
		return format.Damaged(offL1Size, "l1_size", "%d entries are more than %d", h.l1Size, maxL1Bytes/8)
	}
	if need := h.geo.l1Needed(h.size); h.l1Size < need {
		return format.Damaged(offL1Size, "l1_size", "%d entries are less than the %d of a disk of %d bytes", h.l1Size, need, h.size)
	}
	l1 := binary.BigEndian.Uint64(b[offL1Offset:])
	if l1 > math.MaxInt64-maxL1Bytes || l1&uint64(h.geo.clusterSize-1) != 0 {
		return format.Damaged(offL1Offset, "l1_table_offset", "%#x is not a place for a table", l1)
	}
	h.l1Offset = int64(l1)
	if rc := binary.BigEndian.Uint64(b[offRefcount:]); rc > math.MaxInt64 || rc&uint64(h.geo.clusterSize-1) != 0 {
		return format.Damaged(offRefcount, "refcount_table_offset", "%#x is not a place for a table", rc)
	}
	h.numSnapshots = binary.BigEndian.Uint32(b[offNumSnapshots:])
	sn := binary.BigEndian.Uint64(b[offSnapshots:])
	if h.numSnapshots > maxSnapshots {
		return format.Damaged(offNumSnapshots, "nb_snapshots", "%d are more than %d", h.numSnapshots, maxSnapshots)
	}
	if h.numSnapshots > 0 && (sn > math.MaxInt64 || sn&uint64(h.geo.clusterSize-1) != 0) {
		return format.Damaged(offSnapshots, "snapshots_offset", "%#x is not a place for a table", sn)
	}
	if h.numSnapshots > 0 {
		h.snapshots = int64(sn)
	}
	return nil
}

// featureName names a bit of a feature set: by what is known of it, then by
// the image's own table, then by number.
func (h *header) featureName(kind byte, bit int) string {
	if s := knownFeatures[[2]byte{kind, byte(bit)}]; s != "" {
		return s
	}
	set := [...]string{"incompatible", "compatible", "autoclear"}[kind]
	if s := h.featureNames[[2]byte{kind, byte(bit)}]; s != "" {
		return fmt.Sprintf("%q (%s feature bit %d)", s, set, bit)
	}
	return fmt.Sprintf("%s feature bit %d", set, bit)
}

var knownFeatures = map[[2]byte]string{
	{0, 0}: "dirty bit",
	{0, 1}: "corrupt bit",
	{0, 2}: "external data file",
	{0, 3}: "compression type",
	{0, 4}: "extended L2 entries",
	{1, 0}: "lazy refcounts",
	{2, 0}: "bitmaps",
	{2, 1}: "raw external data",
}

// clean makes text of an image fit to be shown.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}
