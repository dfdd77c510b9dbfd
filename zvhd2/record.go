package zvhd2

import "encoding/binary"

// A record holds one stored block:
//
//	 0  12  prefix "hwstream bg\0"
//	12   4  payload size n
//	16   4  block number
//	20  28  reserved
//	48   n  payload
//	        padding
//	-4   4  postfix "end\0", in the last bytes of the last page
const (
	recordPrefix  = "hwstream bg\x00"
	recordPostfix = "end\x00"

	recordOffPayloadSize = 12
	recordOffBlock       = 16
	recordOffReserved    = 20
	recordHeaderSize     = 48

	// maxRecord is the longest record that the encoder writes: a block that
	// does not compress costs 3 bytes per 128 KiB and a frame header, which
	// together with the record's 52 bytes stay under one page. The published
	// reader has a buffer of 4,202,496 bytes.
	maxRecord = BlockSize + pageSize
)

// recordSize returns the length on disk of a record with a payload of n bytes.
func recordSize(n int64) int64 {
	return roundUp(recordHeaderSize+n+int64(len(recordPostfix)), pageSize)
}

// sealRecord completes a record whose payload is in rec after room for the
// record's header: it fills in header, padding and postfix.
func sealRecord(rec []byte, block int64) []byte {
	n := len(rec) - recordHeaderSize
	size := int(recordSize(int64(n)))
	if cap(rec) < size {
		rec = append(make([]byte, 0, size), rec...)
	}
	rec = rec[:size]
	clear(rec[:recordHeaderSize])
	clear(rec[recordHeaderSize+n:])
	copy(rec, recordPrefix)
	binary.LittleEndian.PutUint32(rec[recordOffPayloadSize:], uint32(n))
	binary.LittleEndian.PutUint32(rec[recordOffBlock:], uint32(block))
	copy(rec[size-len(recordPostfix):], recordPostfix)
	return rec
}

// recordHeader is what the first 48 bytes of a record say.
type recordHeader struct {
	block   int64
	payload int64 // bytes
	offset  int64 // of the record in the file
}

// parseRecordHeader reads and checks the start of the record at off of a file
// with footer f. With [recordHeader.checkPostfix] it is all there is to check
// in a record; whether it is the expected one is for the caller to say.
func parseRecordHeader(b []byte, off int64, f *footer) (recordHeader, error) {
	h := recordHeader{
		payload: int64(binary.LittleEndian.Uint32(b[recordOffPayloadSize:])),
		block:   int64(binary.LittleEndian.Uint32(b[recordOffBlock:])),
		offset:  off,
	}
	switch {
	case string(b[:len(recordPrefix)]) != recordPrefix:
		return h, format.Damaged(off, "record.prefix", "is %q", b[:len(recordPrefix)])
	case h.block >= f.maxBlk:
		return h, format.Damaged(off+recordOffBlock, "record.block_number", "is %d on a disk of %d blocks", h.block, f.maxBlk)
	case h.payload == 0 || h.payload > f.maxPayload():
		return h, format.Damaged(off+recordOffPayloadSize, "record.payload_size", "is %d: want 1 to %d", h.payload, f.maxPayload()).InBlock(h.block)
	}
	return h, nil
}

// entry returns the index entry that describes the record.
func (h recordHeader) entry() entry {
	return entry{block: h.block, offset: h.offset, length: recordSize(h.payload)}
}

// checkPostfix checks the last bytes of the record, which rec ends with.
func (h recordHeader) checkPostfix(rec []byte) error {
	if end := rec[len(rec)-len(recordPostfix):]; string(end) != recordPostfix {
		off := h.offset + recordSize(h.payload) - int64(len(recordPostfix))
		return format.Damaged(off, "record.postfix", "is %q", end).InBlock(h.block)
	}
	return nil
}

// parts returns what a record consists of besides prefix and postfix.
func (h recordHeader) parts(rec []byte) (reserved, payload, padding []byte) {
	end := recordHeaderSize + h.payload
	return rec[recordOffReserved:recordHeaderSize], rec[recordHeaderSize:end], rec[end : len(rec)-len(recordPostfix)]
}
