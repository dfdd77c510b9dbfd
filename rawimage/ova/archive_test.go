package ova_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/rawimage/ova"
)

type member struct{ name, data string }

func archive(t testing.TB, members ...member) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, m := range members {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.data))}))
		_, err := w.Write([]byte(m.data))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func open(b []byte) (*ova.Archive, error) { return ova.New(bytes.NewReader(b), int64(len(b))) }

func TestDisk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		members []member
		want    string // asked for
		disk    string
		is      error
		choice  []string // to choose from
	}{
		{"only", []member{{"vm.ovf", "x"}, {"vm-disk1.VMDK", "d"}}, "", "vm-disk1.VMDK", nil, nil},
		{"raw", []member{{"disk.raw", "d"}}, "", "disk.raw", nil, nil},
		{"packed", []member{{"vm.ovf", "x"}, {"a.vmdk.gz", "d"}}, "", "a.vmdk.gz", nil, nil},
		{"macOS", []member{{"._vm.ovf", "x"}, {"._a.vmdk", "x"}, {"a.vmdk", "d"}, {"__MACOSX/b.vmdk", "x"}}, "", "a.vmdk", nil, nil},
		{"two", []member{{"a.vmdk", "d"}, {"b.qcow2", "d"}}, "", "", nil, []string{"a.vmdk", "b.qcow2"}},
		{"two, one asked for", []member{{"a.vmdk", "d"}, {"./b.qcow2", "d"}}, "b.qcow2", "./b.qcow2", nil, nil},
		{"none", []member{{"vm.ovf", "x"}, {"notes", "x"}}, "", "", nil, []string{"vm.ovf", "notes"}},
		{"none of that name", []member{{"a.vmdk", "d"}, {"x", "x"}}, "c.vmdk", "", nil, []string{"a.vmdk"}},
		{"any asked for", []member{{"a.vmdk", "d"}, {"data", "x"}}, "data", "data", nil, nil},
		{"chunks", []member{{"a.vmdk.000000000", "d"}, {"a.vmdk.000000001", "d"}}, "", "", imageerr.ErrUnsupported, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := open(archive(t, c.members...))
			require.NoError(t, err)
			m, err := a.Disk(c.want)
			var ce *ova.ChoiceError
			switch {
			case c.choice != nil:
				require.ErrorAs(t, err, &ce)
				var names []string
				for _, m := range ce.Members {
					names = append(names, m.Name)
				}
				require.Equal(t, c.choice, names)
			case c.is != nil:
				require.ErrorIs(t, err, c.is)
				require.ErrorContains(t, err, "chunk")
			default:
				require.NoError(t, err)
				require.Equal(t, c.disk, m.Name)
				b, err := io.ReadAll(a.Section(m))
				require.NoError(t, err)
				require.NotEmpty(t, b)
			}
		})
	}
}

// A member that tar stores without its holes is said to be one.
func TestSparseMember(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := qemutest.Disk{Name: "disk", Size: 4 << 20, Data: []qemutest.Extent{{1 << 20, 1<<20 + 4096}}}
	d.Write(t, dir)
	for _, format := range []string{"gnu", "posix"} {
		qemutest.Tool(t, dir, "tar", "--format="+format, "-Scf", "a.tar", "disk.raw")
		f, size := qemutest.OpenFile(t, dir+"/a.tar")
		a, err := ova.New(f, size)
		require.NoError(t, err)
		_, err = a.Disk("")
		require.ErrorIs(t, err, imageerr.ErrUnsupported)
		require.ErrorContains(t, err, "sparse")
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	disk, ovf := strings.Repeat("disk", 1<<20), "<Envelope/>"
	for _, c := range []struct {
		algorithm string
		sum       func(s string) string
	}{
		{"SHA1", func(s string) string { return fmt.Sprintf("%x", sha1.Sum([]byte(s))) }},
		{"SHA256", func(s string) string { return fmt.Sprintf("%X", sha256.Sum256([]byte(s))) }},
		{"SHA512", func(s string) string { return fmt.Sprintf("%x", sha512.Sum512([]byte(s))) }},
	} {
		line := func(name, data string) string { return c.algorithm + "(" + name + ")= " + c.sum(data) + "\r\n" }
		verify := func(manifest string) error {
			a, err := open(archive(t, member{"vm.ovf", ovf}, member{"vm.mf", manifest}, member{"vm.vmdk", disk}))
			require.NoError(t, err)
			m, err := a.Disk("")
			require.NoError(t, err)
			require.Equal(t, strings.Contains(manifest, "(vm.vmdk)"), a.Digest(m) == c.algorithm)
			return a.Verify(t.Context(), m)
		}
		require.NoError(t, verify(line("vm.ovf", ovf)+line("vm.vmdk", disk)))
		require.NoError(t, verify(line("vm.ovf", ovf)))
		require.NoError(t, verify(""))
		require.ErrorIs(t, verify(line("vm.vmdk", disk+"x")), imageerr.ErrDamaged)
		require.ErrorIs(t, verify(line("vm.ovf", ovf+"x")+line("vm.vmdk", disk)), imageerr.ErrDamaged)
	}
	for _, bad := range []string{"SHA256(a)= 00", "MD5(a)= 00000000000000000000000000000000"} {
		_, err := open(archive(t, member{"vm.mf", bad}))
		require.ErrorIs(t, err, imageerr.ErrDamaged)
	}
	a, err := open(archive(t, member{"vm.mf", "SHA1(d.raw)= " + strings.Repeat("0", 40)}, member{"d.raw", disk}))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m, err := a.Disk("")
	require.NoError(t, err)
	require.ErrorIs(t, a.Verify(ctx, m), context.Canceled)
}

// A member whose header claims more than the archive has, or nonsense; and
// sources that fail.
func TestBadArchives(t *testing.T) {
	t.Parallel()
	for _, size := range []string{"77777777777", "-0000000001", "zzzzzzzzzzz", "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"} {
		b := archive(t, member{"vm.vmdk", "disk"})
		copy(b[124:136], size)
		var sum int
		copy(b[148:156], "        ")
		for _, c := range b[:512] {
			sum += int(c)
		}
		copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
		_, err := open(b)
		var fe *ova.FormatError
		require.ErrorAs(t, err, &fe, "%q", size)
	}
	b := archive(t, member{"vm.vmdk", strings.Repeat("d", 10000)})
	_, err := open(b[:4096])
	require.ErrorIs(t, err, imageerr.ErrTruncated)
	_, err = ova.New(qemutest.Failing{}, 4096)
	require.ErrorIs(t, err, iotest.ErrTimeout)
	require.False(t, errors.Is(err, imageerr.ErrDamaged))
	_, err = ova.New(nil, 0)
	require.ErrorIs(t, err, fs.ErrInvalid)
	_, err = ova.New(bytes.NewReader(nil), -1)
	require.ErrorIs(t, err, fs.ErrInvalid)
}
