package realguest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
)

// tools are what guests are made and started with.
var tools = []string{
	"mmdebstrap", "unshare", "chroot", "sfdisk", "mke2fs", "debugfs", "mkfs.xfs", "mkswap", "lvm", "losetup",
	"mformat", "mcopy", "grub-mkimage", "qemu-system-x86_64",
}

// Require skips a test of guests where they were not asked for. Where they were,
// a missing tool fails the test.
func Require(t testing.TB) {
	t.Helper()
	if os.Getenv("FASTIMAGE_GUESTS") != "1" {
		t.Skip("FASTIMAGE_GUESTS=1 makes and starts guests")
	}
	require.Zero(t, os.Geteuid(), "guests are made by root")
	for _, tool := range tools {
		_, err := exec.LookPath(tool)
		require.NoError(t, err)
	}
}

// run runs a command in dir and returns what it prints.
func run(t testing.TB, dir string, command ...string) []byte {
	t.Helper()
	return qemutest.Tool(t, dir, command[0], command[1:]...)
}

// enter gives a directory what programs expect of a running system, in a mount
// name space of its own, and runs a script in it.
const enter = `
	mount -t proc proc "$0/proc"
	mount -t sysfs sysfs "$0/sys"
	mount --rbind /dev "$0/dev"
	exec chroot "$0" sh -euc "$1"`

// inRoot runs a script in a root directory.
func inRoot(t testing.TB, root string, env []string, script string) {
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "sh", "-euc", enter, root, script)
	cmd.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}, env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", script, out)
}

// write writes a file of a root, and the directories it is in.
func write(t testing.TB, root, name, content string) {
	t.Helper()
	name = filepath.Join(root, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(content), 0o644))
}

// kernels lists the versions of the kernels of a root, the newest first.
func kernels(t testing.TB, root string) (versions []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	require.NoError(t, err)
	for i := len(files) - 1; i >= 0; i-- {
		versions = append(versions, strings.TrimPrefix(filepath.Base(files[i]), "vmlinuz-"))
	}
	require.NotEmpty(t, versions)
	return versions
}
