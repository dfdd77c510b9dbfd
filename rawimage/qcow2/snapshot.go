package qcow2

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// maxListed and maxListedName bound what is kept of a snapshot table.
	maxListed     = 1024
	maxListedName = 256

	maxSnapshotExtra = 1024 // as in QEMU
)

// Snapshot is an internal snapshot. It is not read, only listed.
type Snapshot struct {
	ID, Name    string
	Created     time.Time
	DiskSize    int64 // 0 when the image does not say
	VMStateSize int64 // bytes; 0 without a machine's state
}

// readSnapshots lists the snapshot table, maxListed of it at most.
func readSnapshots(ra io.ReaderAt, size int64, h *header) ([]Snapshot, error) {
	if h.numSnapshots == 0 {
		return nil, nil
	}
	if h.snapshots >= size {
		return nil, format.Truncated(offSnapshots, "snapshots_offset", "%#x is beyond the end of the file", h.snapshots)
	}
	sr := io.NewSectionReader(ra, h.snapshots, size-h.snapshots)
	t := &snapshotTable{r: bufio.NewReader(sr), off: h.snapshots}
	var list []Snapshot
	for i := range min(h.numSnapshots, maxListed) {
		s, err := t.next()
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, format.Truncated(t.off, fmt.Sprintf("snapshot %d", i), "file ends in it: %w", io.ErrUnexpectedEOF)
			}
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

type snapshotTable struct {
	r       *bufio.Reader
	off     int64
	padding int // after the entry before; the file may end without it
}

// next reads an entry: 40 bytes, further fields, ID and name.
func (t *snapshotTable) next() (s Snapshot, err error) {
	if _, err := t.r.Discard(t.padding); err != nil {
		return s, err
	}
	var b [40]byte
	if _, err := io.ReadFull(t.r, b[:]); err != nil {
		return s, err
	}
	idLen, nameLen := binary.BigEndian.Uint16(b[12:]), binary.BigEndian.Uint16(b[14:])
	extraLen := binary.BigEndian.Uint32(b[36:])
	if extraLen > maxSnapshotExtra {
		return s, format.Damaged(t.off+36, "snapshot extra data size", "%d is more than %d", extraLen, maxSnapshotExtra)
	}
	extra := make([]byte, extraLen)
	if _, err := io.ReadFull(t.r, extra); err != nil {
		return s, err
	}
	s.Created = time.Unix(int64(binary.BigEndian.Uint32(b[16:])), int64(binary.BigEndian.Uint32(b[20:]))).UTC()
	s.VMStateSize = int64(binary.BigEndian.Uint32(b[32:]))
	if len(extra) >= 8 {
		s.VMStateSize = int64(binary.BigEndian.Uint64(extra))
	}
	if len(extra) >= 16 {
		s.DiskSize = int64(binary.BigEndian.Uint64(extra[8:]))
	}
	if s.ID, err = t.text(idLen); err != nil {
		return s, err
	}
	if s.Name, err = t.text(nameLen); err != nil {
		return s, err
	}
	length := int64(len(b)) + int64(extraLen) + int64(idLen) + int64(nameLen)
	t.padding = int(-length & 7)
	t.off += length + int64(t.padding)
	return s, nil
}

// text reads n bytes and keeps the first of them.
func (t *snapshotTable) text(n uint16) (string, error) {
	keep := make([]byte, min(n, maxListedName))
	if _, err := io.ReadFull(t.r, keep); err != nil {
		return "", err
	}
	_, err := t.r.Discard(int(n) - len(keep))
	return clean(string(keep)), err
}
