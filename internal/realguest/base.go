package realguest

import (
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
)

// suite is the Debian release that roots are made of.
const suite = "bookworm"

// Base is a root directory that guests are made from.
type Base struct {
	Name     string
	Packages []string
	Script   string // run in the root once the packages are there
}

// common is what every root has: systemd, what names and mounts disks, and
// the tools of every file system that a guest may be put on.
var common = []string{
	"dbus", "e2fsprogs", "iproute2", "kmod", "login", "lvm2", "passwd",
	"systemd", "systemd-sysv", "udev", "xfsprogs", "zstd",
}

// The roots.
var (
	// Cloud has Debian's kernel for clouds, initramfs-tools and ifupdown.
	Cloud = Base{
		Name:     "cloud",
		Packages: []string{"linux-image-cloud-amd64", "initramfs-tools", "ifupdown", "isc-dhcp-client"},
		Script:   ifupdown,
	}
	// Both has the kernel for all machines as well.
	Both = Base{
		Name:     "both",
		Packages: []string{"linux-image-amd64", "linux-image-cloud-amd64", "initramfs-tools", "ifupdown", "isc-dhcp-client"},
		Script:   ifupdown,
	}
	// Dracut has dracut and systemd-networkd in place of those.
	Dracut = Base{
		Name:     "dracut",
		Packages: []string{"linux-image-cloud-amd64", "dracut"},
		Script:   networkd,
	}
)

// Where the network of a base takes its address from.
const (
	ifupdown = `printf 'auto lo\niface lo inet loopback\n\nauto ens3\niface ens3 inet dhcp\n' >/etc/network/interfaces`
	networkd = `
		printf '[Match]\nName=en*\n\n[Network]\nDHCP=yes\n' >/etc/systemd/network/80-dhcp.network
		systemctl enable systemd-networkd`
)

// setup makes a root show on its serial console what becomes of it, whatever
// the boot loader says of consoles, and leaves out what only takes time.
//
//go:embed setup.sh
var setup string

// dir returns the directory of a root, made if it is not in the cache.
func (b Base) dir(t testing.TB) string {
	t.Helper()
	packages := strings.Join(append(append([]string{}, common...), b.Packages...), ",")
	sum := sha256.Sum256([]byte(suite + packages + setup + b.Script))
	dir := filepath.Join(cache(t), fmt.Sprintf("%s-%x", b.Name, sum[:4]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), b.Name+"-")
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(tmp) }()
	root := filepath.Join(tmp, "root")
	args := []string{
		"mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", "--quiet",
		"--aptopt=" + aptSettings(t, tmp), "--include=" + packages,
	}
	for _, dir := range []string{"doc", "man", "locale", "info"} {
		args = append(args, "--dpkgopt=path-exclude=/usr/share/"+dir+"/*")
	}
	run(t, tmp, append(append(args, suite, root), aptSources(t)...)...)
	inRoot(t, root, nil, setup+b.Script)
	if err := os.Rename(root, dir); err != nil && !os.IsExist(err) {
		require.NoError(t, err)
	}
	return dir
}

// cache is the directory of the roots.
func cache(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("FASTIMAGE_GUEST_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		require.NoError(t, err)
		dir = filepath.Join(user, "fastimage", "guests")
	}
	require.NoError(t, os.MkdirAll(dir, 0o755))
	return dir
}

// aptSources lists the files that say where this machine has the suite from.
func aptSources(t testing.TB) (list []string) {
	t.Helper()
	named := regexp.MustCompile(`(?m)^[^#]*\s` + suite + `(\s|$)`)
	files, err := filepath.Glob("/etc/apt/sources.list.d/*")
	require.NoError(t, err)
	for _, f := range append(files, "/etc/apt/sources.list") {
		b, err := os.ReadFile(f)
		ext := filepath.Ext(f)
		if err == nil && (ext == ".list" || ext == ".sources") && named.Match(b) {
			list = append(list, f)
		}
	}
	require.NotEmpty(t, list, "apt has no sources of %s", suite)
	return list
}

// aptSettings writes to a file how this machine fetches packages: proxies, what
// is verified, and where credentials are.
func aptSettings(t testing.TB, dir string) string {
	t.Helper()
	settings := qemutest.Tool(t, dir, "apt-config", "dump", "Acquire")
	settings = append(settings, `
Dir::Etc::netrc "/etc/apt/auth.conf";
Dir::Etc::netrcparts "/etc/apt/auth.conf.d";
`...)
	name := filepath.Join(dir, "apt.conf")
	require.NoError(t, os.WriteFile(name, settings, 0o600))
	return name
}

// GuestFS is the environment in which libguestfs uses the kernel of a guest for its own
// machine, whether or not this one has a kernel in /boot.
func GuestFS(t testing.TB) []string {
	t.Helper()
	root := Cloud.dir(t)
	version := kernels(t, root)[0]
	return []string{
		"SUPERMIN_KERNEL=" + filepath.Join(root, "boot", "vmlinuz-"+version),
		"SUPERMIN_KERNEL_VERSION=" + version,
		"SUPERMIN_MODULES=" + filepath.Join(root, "lib", "modules", version),
		"LIBGUESTFS_BACKEND=direct", "LIBGUESTFS_BACKEND_SETTINGS=force_tcg",
	}
}
