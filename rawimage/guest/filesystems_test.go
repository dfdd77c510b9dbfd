package guest_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/guest"
	gt "github.com/fastimage/fastimage/rawimage/guest/internal/guesttest"
)

// sampleDir is a directory with what readers of file systems must get right:
// large, empty and sparse files, directories of many entries, long and short links.
func sampleDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, p []byte) {
		full := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(full), 0o755))
		require.NoError(t, os.WriteFile(full, p, 0o644))
	}
	for name, content := range gt.Debian() {
		if target, ok := strings.CutPrefix(content, gt.Link); ok {
			full := filepath.Join(dir, name)
			require.NoError(t, os.MkdirAll(filepath.Dir(full), 0o755))
			require.NoError(t, os.Symlink(target, full))
			continue
		}
		if strings.HasPrefix(name, "etc") || strings.HasPrefix(name, "boot") || strings.HasPrefix(name, "usr") {
			write(name, []byte(content))
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	big := make([]byte, 5<<20+123)
	for i := range big {
		big[i] = byte(rnd.Uint32())
	}
	write("data/big", big)
	write("data/empty", nil)
	for i := range 700 {
		write(fmt.Sprintf("data/many/a file with a name of some length %04d", i), []byte(fmt.Sprint(i)))
	}
	sparse, err := os.Create(filepath.Join(dir, "data/sparse"))
	require.NoError(t, err)
	for i := range int64(40) {
		_, err = sparse.WriteAt([]byte("data"), i*200_000)
		require.NoError(t, err)
	}
	_, err = sparse.WriteAt([]byte("end"), 9<<20)
	require.NoError(t, err)
	require.NoError(t, sparse.Close())
	require.NoError(t, os.Symlink(strings.Repeat("long/", 100)+"name", filepath.Join(dir, "data/longlink")))
	require.NoError(t, os.Symlink("/data/../data/big", filepath.Join(dir, "data/absolute")))
	return dir
}

// sameFiles compares a guest's files with a directory's.
func sameFiles(t *testing.T, dir string, got fs.FS, times bool) {
	t.Helper()
	count := 0
	require.NoError(t, filepath.WalkDir(dir, func(full string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		name, err := filepath.Rel(dir, full)
		require.NoError(t, err)
		name = filepath.ToSlash(name)
		i, err := fs.Lstat(got, name)
		require.NoError(t, err)
		require.Equal(t, d.Type(), i.Mode().Type(), name)
		count++
		switch {
		case d.IsDir():
			want, err := os.ReadDir(full)
			require.NoError(t, err)
			have, err := fs.ReadDir(got, name)
			require.NoError(t, err)
			have = without(have, "lost+found")
			require.Len(t, have, len(want), name)
		case d.Type() == fs.ModeSymlink:
			want, err := os.Readlink(full)
			require.NoError(t, err)
			have, err := fs.ReadLink(got, name)
			require.NoError(t, err)
			require.Equal(t, want, have)
		default:
			want, err := os.ReadFile(full)
			require.NoError(t, err)
			have, err := fs.ReadFile(got, name)
			require.NoError(t, err)
			require.Equal(t, sha256.Sum256(want), sha256.Sum256(have), name)
			wi, err := d.Info()
			require.NoError(t, err)
			if !times {
				return nil
			}
			require.WithinDuration(t, wi.ModTime(), i.ModTime(), 2e9, name)
		}
		return nil
	}))
	require.Greater(t, count, 700)
	p, err := fs.ReadFile(got, "data/absolute")
	require.NoError(t, err)
	require.Len(t, p, 5<<20+123)
}

func without(list []fs.DirEntry, name string) (kept []fs.DirEntry) {
	for _, e := range list {
		if e.Name() != name {
			kept = append(kept, e)
		}
	}
	return kept
}

func TestExtFileSystems(t *testing.T) {
	t.Parallel()
	dir := sampleDir(t)
	for name, args := range map[string][]string{
		"ext2": {"-t", "ext2"}, "ext3": {"-t", "ext3"}, "ext4": {"-t", "ext4"},
		"ext4, 1 KiB blocks": {"-t", "ext4", "-b", "1024"}, "ext2, 1 KiB blocks": {"-t", "ext2", "-b", "1024"},
		"ext4, inline data": {"-t", "ext4", "-O", "inline_data", "-I", "512"}, "ext4, meta_bg": {"-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode"},
		"ext4, 32 bits": {"-t", "ext4", "-O", "^64bit,^metadata_csum"}, "ext4, csum_seed": {"-t", "ext4", "-O", "metadata_csum_seed,large_dir,ea_inode,casefold"},
		"ext4, bigalloc": {"-t", "ext4", "-O", "bigalloc", "-C", "16384"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img := filepath.Join(t.TempDir(), "img")
			qemutest.Tool(t, dir, "mke2fs", append(append([]string{"-q", "-F", "-d", dir, "-L", "label"}, args...), img, "96M")...)
			r := examineFile(t, img)
			require.True(t, r.Examined, r.Reason)
			require.Equal(t, args[1], r.Root.Type)
			require.Equal(t, "label", r.Root.Label)
			sameFiles(t, dir, r.FS(), true)
		})
	}
}

func TestXFSFileSystems(t *testing.T) {
	t.Parallel()
	dir := sampleDir(t)
	proto := xfsProto(t, dir)
	for name, args := range map[string][]string{
		"v5": {"-m", "crc=1"}, "v5, bigtime": {"-m", "crc=1,bigtime=1,inobtcount=1,reflink=1"}, "v5, no ftype extras": {"-m", "crc=1,bigtime=0,reflink=0,finobt=0,rmapbt=0"},
		"v5, 1 KiB inodes": {"-m", "crc=1", "-i", "size=1024"}, "v5, 2 KiB inodes": {"-i", "size=2048"}, "v5, 1 KiB blocks": {"-b", "size=1024"},
		"v4": {"-m", "crc=0,finobt=0,reflink=0"}, "v4, no ftype": {"-m", "crc=0", "-n", "ftype=0"}, "v4, 256": {"-m", "crc=0", "-i", "size=256"},
		"v5, large directory blocks": {"-n", "size=16384"}, "v5, nrext64": {"-i", "nrext64=1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tmp, err := os.MkdirTemp("", "xfs") // mkfs.xfs takes no comma in a name
			require.NoError(t, err)
			t.Cleanup(func() { os.RemoveAll(tmp) })
			img := filepath.Join(tmp, "img")
			if strings.Contains(name, "nrext64") && !strings.Contains(xfsHelp(t), "nrext64") {
				t.Skip("this mkfs.xfs does not know nrext64")
			}
			qemutest.Tool(t, dir, "mkfs.xfs", append(append([]string{"-q", "-L", "label", "-p", proto}, args...), "-d", "file,name="+img+",size=512m")...)
			r := examineFile(t, img)
			require.True(t, r.Examined, r.Reason)
			require.Equal(t, "xfs", r.Root.Type)
			require.Equal(t, "label", r.Root.Label)
			sameFiles(t, dir, r.FS(), false)
			f := finding(t, r, "clean-shutdown")
			require.Equal(t, guest.StatusOK, f.Status, f)
		})
	}
}

func examineFile(t *testing.T, name string, opts ...guest.Option) *guest.Report {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	i, err := f.Stat()
	require.NoError(t, err)
	r, err := guest.Examine(t.Context(), f, i.Size(), opts...)
	require.NoError(t, err)
	return r
}

func TestFAT(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"12": {"-F", "12", "-C"}, "16": {"-F", "16", "-C"}, "32": {"-F", "32", "-C"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img, size := filepath.Join(t.TempDir(), "img"), "65536"
			if name == "12" {
				size = "8192"
			}
			qemutest.Tool(t, "", "mkfs.vfat", append(args, "-n", "ESP", img, size)...)
			big := bytes.Repeat([]byte("efi program "), 100_000)
			src := filepath.Join(t.TempDir(), "shimx64-with-a-long-name.efi")
			require.NoError(t, os.WriteFile(src, big, 0o644))
			for _, dir := range []string{"::/EFI", "::/EFI/BOOT", "::/EFI/debian"} {
				qemutest.Tool(t, "", "mmd", "-i", img, dir)
			}
			qemutest.Tool(t, "", "mcopy", "-i", img, src, "::/EFI/BOOT/BOOTX64.EFI")
			qemutest.Tool(t, "", "mcopy", "-i", img, src, "::/EFI/debian/")
			for i := range 100 {
				qemutest.Tool(t, "", "mmd", "-i", img, fmt.Sprintf("::/EFI/debian/directory number %d", i))
			}
			esp, err := os.ReadFile(img)
			require.NoError(t, err)
			disk := gt.GPT(false, gt.Partition{GUID: gt.TypeESP, Content: esp},
				gt.Partition{GUID: gt.TypeLinux, Content: gt.Ext2(gt.RootUUID, "", gt.Debian())})
			r := examine(t, disk)
			require.True(t, r.Examined, r.Reason)
			require.Equal(t, []guest.Firmware{guest.FirmwareUEFI}, r.Firmware)
			for _, f := range []string{"boot/efi/EFI/BOOT/BOOTX64.EFI", "boot/efi/efi/Debian/ShimX64-with-a-long-name.efi"} {
				p, err := fs.ReadFile(r.FS(), f)
				require.NoError(t, err)
				require.True(t, bytes.Equal(big, p), f)
			}
			list, err := fs.ReadDir(r.FS(), "boot/efi/EFI/debian")
			require.NoError(t, err)
			require.Len(t, list, 101)
		})
	}
}

func TestFSKeepsThePromisesOfFS(t *testing.T) {
	t.Parallel()
	r := examine(t, onDisk(gt.Debian().With(gt.Tree{"bin": gt.Link + "usr/bin"})))
	require.NoError(t, fstest.TestFS(r.FS(), "etc/fstab", "boot/grub/grub.cfg", "usr/bin/sh"))
}

func xfsHelp(t *testing.T) string {
	t.Helper()
	return string(qemutest.Tool(t, "", "sh", "-c", "mkfs.xfs 2>&1; true"))
}

// xfsProto writes a prototype for mkfs.xfs -p, which cannot have spaces in names.
func xfsProto(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("/\n0 0\nd--755 0 0\n")
	var walk func(name string)
	walk = func(name string) {
		list, err := os.ReadDir(filepath.Join(dir, name))
		require.NoError(t, err)
		for _, e := range list {
			full := filepath.Join(dir, name, e.Name())
			if strings.Contains(e.Name(), " ") {
				renamed := strings.ReplaceAll(full, " ", "_")
				require.NoError(t, os.Rename(full, renamed))
				full = renamed
			}
			base := filepath.Base(full)
			switch {
			case e.IsDir():
				fmt.Fprintf(&b, "%s d--755 0 0\n", base)
				walk(filepath.Join(name, base))
			case e.Type() == fs.ModeSymlink:
				target, err := os.Readlink(full)
				require.NoError(t, err)
				fmt.Fprintf(&b, "%s l--777 0 0 %s\n", base, target)
			default:
				fmt.Fprintf(&b, "%s ---644 0 0 %s\n", base, full)
			}
		}
		b.WriteString("$\n")
	}
	walk("")
	proto := filepath.Join(t.TempDir(), "proto")
	require.NoError(t, os.WriteFile(proto, []byte(b.String()), 0o644))
	return proto
}
