// Package mdraid reads the superblocks of members of Linux MD arrays.
package mdraid

import (
	"encoding/binary"
	"io"

	"github.com/fastimage/fastimage/rawimage/guest/internal/probe"
	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

// Member is one device of an array.
type Member struct {
	Version    string // of the metadata: "0.90", "1.0", "1.1" or "1.2"
	UUID       string // of the array
	Name       string // "host:name" of version 1, without the host
	Level      int    // 1 for RAID 1
	Devices    int    // that the array has
	DataOffset int64  // where the array's data begins on the device, in bytes
	DataSize   int64  // of the array's data on the device, in bytes
	Minor      int    // of version 0.90: the array is /dev/md<Minor>
}

// Read reads the superblock of a member that is size bytes long.
func Read(ra io.ReaderAt, size int64) (*Member, error) {
	for i, at := range probe.RAIDSuperblocks(size) {
		p := make([]byte, 256)
		if err := vfs.ReadFull(ra, p, at); err != nil {
			return nil, err
		}
		if !probe.IsRAIDSuperblock(p, at, size) {
			continue
		}
		if i == 3 {
			return old(p, at)
		}
		return version1(p, []string{"1.1", "1.2", "1.0"}[i], size)
	}
	return nil, vfs.Damaged("no RAID superblock")
}

func version1(p []byte, version string, size int64) (*Member, error) {
	le := binary.LittleEndian
	m := &Member{
		Version: version, UUID: probe.UUID(p[16:32]), Level: int(int32(le.Uint32(p[72:]))),
		Devices: int(le.Uint32(p[92:])), Minor: -1,
		DataOffset: int64(le.Uint64(p[128:])) * 512, DataSize: int64(le.Uint64(p[80:])) * 512,
	}
	name := p[32:64]
	for i, c := range name {
		if c == 0 {
			name = name[:i]
			break
		}
	}
	m.Name = string(name)
	for i, c := range name {
		if c == ':' {
			m.Name = string(name[i+1:])
		}
	}
	if m.DataOffset < 0 || m.DataSize <= 0 || m.DataOffset > size || m.DataSize > size-m.DataOffset {
		return nil, vfs.Damaged("RAID superblock: data of %d bytes at %d", m.DataSize, m.DataOffset)
	}
	return m, nil
}

// old is version 0.90, in the byte order of the machine: little-endian here.
func old(p []byte, at int64) (*Member, error) {
	le := binary.LittleEndian
	id := append(append([]byte{}, p[20:24]...), p[52:64]...)
	m := &Member{
		Version: "0.90", UUID: probe.UUID(id), Level: int(int32(le.Uint32(p[28:]))), Devices: int(le.Uint32(p[40:])),
		Minor: int(le.Uint32(p[44:])), DataSize: int64(le.Uint32(p[32:])) * 1024,
	}
	if m.DataSize <= 0 || m.DataSize > at {
		return nil, vfs.Damaged("RAID superblock: data of %d bytes", m.DataSize)
	}
	return m, nil
}
