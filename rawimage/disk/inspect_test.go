package disk_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/disk"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

func realDisk(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("../../testdata/disk.raw")
	require.NoError(t, err)
	return data
}

func inspect(t testing.TB, data []byte) *disk.Info {
	t.Helper()
	info, err := disk.Inspect(t.Context(), bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	return info
}

func problems(info *disk.Info) string {
	var s []string
	for _, p := range info.Problems {
		s = append(s, p.String())
	}
	return strings.Join(s, "\n")
}

func TestInspectRealDisk(t *testing.T) {
	info := inspect(t, realDisk(t))
	require.Equal(t, &disk.Info{
		Size: 64 * mib, SectorSize: 512, Table: disk.TableGPT, DiskID: "3d4c2b1a-0f1e-4d2c-8b3a-495867768594",
		BackupTable: true, HighestSector: 131071, MinDiskGB: 1,
		Firmware: disk.FirmwareUEFI, FirmwareSource: "EFI system partition (partition 1)",
		Partitions: []disk.Partition{
			{Number: 1, Start: mib, Size: 8 * mib, Type: "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", TypeName: "EFI system",
				GUID: "a1b2c3d4-0001-4000-8000-000000000001", Name: "EFI system partition", Filesystem: "vfat", Label: "ESP"},
			{Number: 2, Start: 9 * mib, Size: 48 * mib, Type: "0fc63daf-8483-4772-8e79-3d69d8477de4", TypeName: "Linux filesystem",
				GUID: "a1b2c3d4-0002-4000-8000-000000000002", Name: "root", Filesystem: "ext4", Label: "root"},
		},
		Hints: []disk.Hint{
			{Key: "os", Value: "debian", Source: "EFI/debian on partition 1"},
			{Key: "architecture", Value: "x86", Source: "EFI/BOOT/BOOTX64.EFI on partition 1"},
			{Key: "os", Value: "linux", Source: "ext4 file system of partition 2"},
		},
	}, info)
}

// go-diskfs sees the same partitions on a sound disk.
func TestInspectAgreesWithDiskfs(t *testing.T) {
	f, err := os.Open("../../testdata/disk.raw")
	require.NoError(t, err)
	defer f.Close()
	table, err := gpt.Read(f, 512, 512)
	require.NoError(t, err)
	info := inspect(t, realDisk(t))
	require.Len(t, info.Partitions, len(table.Partitions))
	for i, p := range table.Partitions {
		mine := info.Partitions[i]
		require.Equal(t, int64(p.Start)*512, mine.Start)
		require.Equal(t, int64(p.Size), mine.Size)
		require.True(t, strings.EqualFold(p.GUID, mine.GUID))
		require.Equal(t, p.Name, mine.Name)
	}
}

// resum gives a changed GPT valid sums again.
func resum(d []byte, at int) {
	arr := int(binary.LittleEndian.Uint64(d[at+72:])) * 512
	n := int(binary.LittleEndian.Uint32(d[at+80:])) * int(binary.LittleEndian.Uint32(d[at+84:]))
	if arr >= 0 && n >= 0 && n < mib && arr+n <= len(d) {
		binary.LittleEndian.PutUint32(d[at+88:], crc32.ChecksumIEEE(d[arr:arr+n]))
	}
	clear(d[at+16 : at+20])
	binary.LittleEndian.PutUint32(d[at+16:], crc32.ChecksumIEEE(d[at:at+92]))
}

func TestInspectDamagedGPT(t *testing.T) {
	le32, le64 := binary.LittleEndian.PutUint32, binary.LittleEndian.PutUint64
	const backup = 64*mib - 512
	for _, c := range []struct {
		name    string
		change  func(d []byte)
		parts   int
		problem string
	}{
		{"header CRC", func(d []byte) { d[512+60] ^= 1 }, 2, "GPT header at byte 512: CRC is"},
		{"entries CRC", func(d []byte) { d[1024+60] ^= 1 }, 2, "GPT entries at byte 1024: CRC is"},
		{"no primary", func(d []byte) { clear(d[512:1024]) }, 2, "GPT header at byte 512: missing"},
		{"header length", func(d []byte) { le32(d[512+12:], 1<<31) }, 2, "claims a length"},
		{"backup CRC", func(d []byte) { d[backup+60] ^= 1 }, 2, "GPT backup header at byte 67108352: CRC is"},
		{"backup missing", func(d []byte) { clear(d[backup:]) }, 2, "GPT backup header at byte 67108352: missing"},
		{"backup entries", func(d []byte) { d[backup-32*512+5] ^= 1 }, 2, "GPT backup entries"},
		{"backup differs", func(d []byte) { d[backup+56] ^= 1; resum(d, backup) }, 2, "differs from the primary"},
		{"2^32 entries", func(d []byte) { le32(d[512+80:], math.MaxUint32); resum(d, 512) }, 2, "4294967295 entries are claimed"},
		{"entry size 0", func(d []byte) { le32(d[512+84:], 0); resum(d, 512) }, 2, "an entry of 0 bytes"},
		{"entry size 2^32", func(d []byte) { le32(d[512+84:], math.MaxUint32); resum(d, 512) }, 2, "an entry of 4294967295 bytes"},
		{"entries past the end", func(d []byte) { le64(d[512+72:], 1<<40); resum(d, 512) }, 2, "past the end of the disk"},
		{"entries at 2^64", func(d []byte) { le64(d[512+72:], math.MaxUint64); resum(d, 512) }, 2, "past the end of the disk"},
		{"own sector", func(d []byte) { le64(d[512+24:], 7); resum(d, 512) }, 2, "says it is in sector 7"},
		{"partition past the end", func(d []byte) { le64(d[1024+128+40:], 200000); resum(d, 512) }, 2, "partition 2 at byte 9437184: ends at byte"},
		{"partition of 2^64", func(d []byte) { le64(d[1024+128+40:], math.MaxUint64); resum(d, 512) }, 1, "partition 2"},
		{"partition backwards", func(d []byte) { le64(d[1024+128+40:], 5); resum(d, 512) }, 1, "partition 2 at byte 512: sectors 18432 to 5"},
		{"overlap", func(d []byte) { le64(d[1024+128+32:], 4096); resum(d, 512) }, 2, "partition 2 at byte 2097152: overlaps partition 1"},
		{"both gone", func(d []byte) { d[512+60] ^= 1; d[backup+60] ^= 1 }, 0, "GPT backup header"},
		{"all gone", func(d []byte) { clear(d[512:1024]); clear(d[backup:]) }, 1, "there is no GPT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := realDisk(t)
			c.change(d)
			info, err := disk.Inspect(t.Context(), bytes.NewReader(d), int64(len(d)))
			if c.name == "partition past the end" {
				require.ErrorIs(t, err, disk.ErrTruncated)
			} else {
				require.NoError(t, err)
			}
			require.Len(t, info.Partitions, c.parts)
			require.Contains(t, problems(info), c.problem)
		})
	}
}

// A disk is truncated if a partition in use, or the list of them, is past its end.
func TestInspectTruncated(t *testing.T) {
	d := realDisk(t)
	for size, need := range map[int64]int64{4 * kib: 17 * kib, mib: 57 * mib, 10 * mib: 57 * mib, 57*mib - 1: 57 * mib} {
		info, err := disk.Inspect(t.Context(), bytes.NewReader(d[:size]), size)
		var te *disk.TruncatedError
		require.ErrorAs(t, err, &te, "%d", size)
		require.ErrorIs(t, err, disk.ErrTruncated)
		require.Equal(t, size, te.Size)
		require.Equal(t, need, te.Need)
		require.Len(t, info.Partitions, map[bool]int{true: 0, false: 2}[size < 17*kib])
	}
	// A backup GPT that is missing is no more than a problem.
	for _, size := range []int64{57 * mib, 64*mib - 512, 64*mib - 1} {
		info := inspect(t, d[:size])
		require.Equal(t, disk.CodeBackup, info.Problems[len(info.Problems)-1].Code)
		require.Contains(t, problems(info), "past the end of the disk")
		require.Len(t, info.Partitions, 2)
	}
	grown := append(d, make([]byte, mib)...)
	info := inspect(t, grown)
	require.Contains(t, problems(info), "the disk has grown by 1048576 bytes")
	require.True(t, info.BackupTable)
}

// mbr makes a disk with a table of (type, start, length) entries.
func mbr(size int, entries ...[3]uint32) []byte {
	d := make([]byte, size)
	putMBR(d, entries...)
	return d
}

func putMBR(d []byte, entries ...[3]uint32) {
	d[510], d[511] = 0x55, 0xaa
	for i, e := range entries {
		p := d[446+16*i:]
		p[4] = byte(e[0])
		binary.LittleEndian.PutUint32(p[8:], e[1])
		binary.LittleEndian.PutUint32(p[12:], e[2])
	}
}

func TestInspectMBR(t *testing.T) {
	d := mbr(8*mib, [3]uint32{0x83, 64, 100}, [3]uint32{0x05, 200, 1000}, [3]uint32{0x82, 2000, 8})
	d[446] = 0x80
	putMBR(d[200*512:], [3]uint32{0x83, 10, 50}, [3]uint32{0x05, 300, 100})
	putMBR(d[500*512:], [3]uint32{0x07, 5, 20})
	info := inspect(t, d)
	require.Empty(t, info.Problems)
	require.Equal(t, disk.TableMBR, info.Table)
	var got [][3]int64
	for _, p := range info.Partitions {
		got = append(got, [3]int64{int64(p.Number), p.Start / 512, p.Size / 512})
	}
	require.Equal(t, [][3]int64{{1, 64, 100}, {2, 200, 1000}, {5, 210, 50}, {6, 505, 20}, {3, 2000, 8}}, got)
	require.Equal(t, "extended", info.Partitions[1].TypeName)
	require.Equal(t, disk.FirmwareBIOS, info.Firmware)
	require.Equal(t, "active partition 1", info.FirmwareSource)
	require.Equal(t, int64(2007), info.HighestSector)

	// Sectors of 4096 bytes show only in where the file systems are.
	d = mbr(8*mib, [3]uint32{0x83, 16, 100})
	copy(d[16*4096:], "XFSB")
	info = inspect(t, d)
	require.Equal(t, int64(4096), info.SectorSize)
	require.Equal(t, int64(16*4096), info.Partitions[0].Start)
	require.Equal(t, "xfs", info.Partitions[0].Filesystem)
}

func TestInspectHostileMBR(t *testing.T) {
	loop := func(to uint32) []byte {
		d := mbr(mib, [3]uint32{0x0f, 64, 1000})
		putMBR(d[64*512:], [3]uint32{0x83, 1, 1}, [3]uint32{0x05, 10, 1})
		putMBR(d[74*512:], [3]uint32{0x83, 1, 1}, [3]uint32{0x05, to, 1})
		return d
	}
	long := mbr(mib, [3]uint32{0x0f, 64, 1900})
	for i := uint32(0); i < 900; i++ {
		putMBR(long[(64+2*i)*512:], [3]uint32{0x83, 1, 1}, [3]uint32{0x05, 2*i + 2, 1})
	}
	for _, c := range []struct {
		name    string
		disk    []byte
		problem string
	}{
		{"loop to itself", loop(10), "chain of records leads from sector 74 to 74"},
		{"loop to the first", loop(0), "chain of records leads from sector 74 to 64"},
		{"out of the extended partition", loop(5000), "chain of records leads"},
		{"no signature", loop(20), "a record without signature"},
		{"endless", long, "more than 128 logical partitions"},
		{"overlap", mbr(mib, [3]uint32{0x83, 10, 100}, [3]uint32{0x83, 20, 10}), "overlaps partition 1"},
		{"overlap of an extended one", mbr(mib, [3]uint32{0x83, 10, 100}, [3]uint32{0x05, 20, 10}), "partition 2 at byte 10240: overlaps partition 1"},
	} {
		t.Run(c.name, func(t *testing.T) { require.Contains(t, problems(inspect(t, c.disk)), c.problem) })
	}
	for _, e := range [][3]uint32{{0x83, 100, 1 << 20}, {0x05, 1 << 30, 1 << 30}, {0x83, math.MaxUint32, math.MaxUint32}} {
		_, err := disk.Inspect(t.Context(), bytes.NewReader(mbr(mib, e)), mib)
		var te *disk.TruncatedError
		require.ErrorAs(t, err, &te)
		require.Equal(t, (int64(e[1])+int64(e[2]))*512, te.Need)
	}
}

func TestInspectOther(t *testing.T) {
	for _, n := range []int{1, 100, 511, 512, 513, 5000, mib} {
		info := inspect(t, make([]byte, n))
		require.Equal(t, disk.TableNone, info.Table)
		require.Equal(t, int64(-1), info.HighestSector)
		require.Empty(t, info.Partitions)
		require.Equal(t, 1, info.MinDiskGB)
	}
	bare := realDisk(t)[mib : 9*mib] // a FAT without a table around it
	info := inspect(t, bare)
	require.Equal(t, disk.TableNone, info.Table)
	require.Equal(t, "vfat", info.Hints[0].Value)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := disk.Inspect(ctx, bytes.NewReader(bare), int64(len(bare)))
	require.ErrorIs(t, err, context.Canceled)

	for size, gb := range map[int64]int{1: 1, 1 << 30: 1, 1<<30 + 1: 2, 40 << 30: 40} {
		info, err := disk.Inspect(t.Context(), &patched{size: size}, size)
		require.NoError(t, err)
		require.Equal(t, gb, info.MinDiskGB)
	}
}

// Sectors of 4096 bytes: the table of the real disk, moved to where it then is.
// (No tool at hand makes one in a file.)
func TestInspectGPT4096(t *testing.T) {
	const size, sector, last = 64 * mib, 4096, 64*mib/4096 - 1
	src, d := realDisk(t), make([]byte, 64*mib)
	copy(d, src[:512])
	put := func(at, other, array uint64) {
		entries := d[array*sector : array*sector+128*128]
		copy(entries, src[1024:1024+128])
		binary.LittleEndian.PutUint64(entries[32:], 256)
		binary.LittleEndian.PutUint64(entries[40:], 511)
		h := d[at*sector:]
		copy(h, src[512:512+92])
		for off, v := range map[int]uint64{24: at, 32: other, 40: 6, 48: last - 5, 72: array} {
			binary.LittleEndian.PutUint64(h[off:], v)
		}
		binary.LittleEndian.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
		clear(h[16:20])
		binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
	}
	put(1, last, 2)
	put(last, 1, last-4)
	info := inspect(t, d)
	require.Len(t, info.Problems, 1)
	require.Equal(t, disk.CodeSectorSize, info.Problems[0].Code)
	require.Equal(t, int64(sector), info.SectorSize)
	require.True(t, info.BackupTable)
	require.Len(t, info.Partitions, 1)
	require.Equal(t, int64(mib), info.Partitions[0].Start)
	require.Equal(t, int64(mib), info.Partitions[0].Size)
	require.Equal(t, int64(last), info.HighestSector)

	info = inspect(t, d[:size/2]) // only the backup is missing
	require.Equal(t, disk.CodeBackup, info.Problems[0].Code)
	_, err := disk.Inspect(t.Context(), bytes.NewReader(d[:3*mib/2]), 3*mib/2)
	require.ErrorIs(t, err, disk.ErrTruncated)
}

// The unit of an MBR is 4096 bytes only where 512 makes no sense and 4096 does.
func TestInspectMBRSectors(t *testing.T) {
	ext := func(d []byte, off int64) { copy(d[off+0x438:], "\x53\xef") }
	for _, c := range []struct {
		name   string
		make   func() []byte
		sector int64
	}{
		{"512", func() []byte { d := mbr(4*mib, [3]uint32{0x83, 8, 16}); ext(d, 8*512); return d }, 512},
		{"4096", func() []byte { d := mbr(4*mib, [3]uint32{0x83, 8, 16}); ext(d, 8*4096); return d }, 4096},
		{"both", func() []byte { d := mbr(4*mib, [3]uint32{0x83, 8, 16}); ext(d, 8*4096); ext(d, 8*512); return d }, 512},
		{"neither", func() []byte { return mbr(4*mib, [3]uint32{0x83, 8, 16}) }, 512},
		{"4096 does not fit", func() []byte { d := mbr(4*mib, [3]uint32{0x83, 8, 8000}); ext(d, 8*4096); return d }, 512},
		// As grub-mkrescue makes it: an image for optical media, with a
		// partition that covers it.
		{"hybrid", func() []byte {
			d := mbr(4*mib, [3]uint32{0xcd, 1, 8191})
			copy(d[0x8001:], "CD001")
			ext(d, 4096)
			return d
		}, 512},
	} {
		t.Run(c.name, func(t *testing.T) {
			info := inspect(t, c.make())
			require.Equal(t, c.sector, info.SectorSize)
			require.Equal(t, disk.TableMBR, info.Table)
		})
	}
}

// What says that there is a system on a disk, or nothing.
func TestInspectRecognized(t *testing.T) {
	boot := make([]byte, mib)
	copy(boot, "\xfa\x31\xc0")
	boot[510], boot[511] = 0x55, 0xaa
	info := inspect(t, boot)
	require.True(t, info.BootCode)
	require.True(t, info.Recognized())
	require.Empty(t, info.Volume)

	bare := realDisk(t)[mib : 9*mib]
	info = inspect(t, bare)
	require.Equal(t, "vfat", info.Volume)
	require.True(t, info.Recognized())

	noise := bytes.Repeat([]byte("noise"), 1000)
	info = inspect(t, noise)
	require.False(t, info.Recognized())
	require.Equal(t, disk.CodeSize, info.Problems[0].Code)
	require.True(t, inspect(t, realDisk(t)).Recognized())
}

// Both ways to start, and an arm loader.
func TestInspectFirmware(t *testing.T) {
	d := realDisk(t)
	copy(d[1024+128:], "\x48\x61\x68\x21\x49\x64\x6f\x6e\x74\x4e\x65\x65\x64\x45\x46\x49")
	resum(d, 512)
	info := inspect(t, d)
	require.Equal(t, disk.FirmwareBIOS, info.Firmware)
	require.Equal(t, "BIOS boot partition (partition 2)", info.FirmwareSource)

	i := bytes.Index(d[:9*mib], []byte("BOOTX64 EFI"))
	require.Positive(t, i)
	copy(d[i:], "BOOTAA64EFI")
	info = inspect(t, d)
	require.Equal(t, disk.FirmwareUEFI, info.Firmware)
	require.Contains(t, info.Hints, disk.Hint{Key: "architecture", Value: "arm", Source: "EFI/BOOT/BOOTAA64.EFI on partition 1"})
}

// What the tools of a Linux system make.
func TestInspectOracles(t *testing.T) {
	sfdisk, mkfs := qemutest.Oracle(t, "sfdisk"), qemutest.Oracle(t, "mkfs.vfat")
	run := func(stdin string, args ...string) {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	name := filepath.Join(t.TempDir(), "disk.raw")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	require.NoError(t, os.Truncate(name, 256*mib))
	f, _ := qemutest.OpenFile(t, name)
	run("label: dos\n2048,8M,ef\n,16M,L,*\n,64M,Ex\n,4M,L\n,5M,L\n,6M,L\n", sfdisk, "-q", name)
	info, err := disk.Inspect(t.Context(), f, 256*mib)
	require.NoError(t, err)
	require.Empty(t, info.Problems)
	var got [][2]int64 // number and MiB, in the order of the table
	for _, p := range info.Partitions {
		got = append(got, [2]int64{int64(p.Number), p.Size / mib})
	}
	// sfdisk makes the fourth line the fourth primary, after the extended one.
	require.Equal(t, [][2]int64{{1, 8}, {2, 16}, {3, 64}, {5, 5}, {6, 6}, {4, 4}}, got)

	require.NoError(t, os.Truncate(name, 0))
	require.NoError(t, os.Truncate(name, 256*mib))
	run("", mkfs, "-F", "32", name)
	info, err = disk.Inspect(t.Context(), f, 256*mib)
	require.NoError(t, err)
	require.Equal(t, disk.TableNone, info.Table)
}
