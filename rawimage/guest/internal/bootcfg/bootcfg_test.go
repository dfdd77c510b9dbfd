package bootcfg_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/guest/internal/bootcfg"
	"github.com/fastimage/fastimage/rawimage/guest/internal/extfs"
	gt "github.com/fastimage/fastimage/rawimage/guest/internal/guesttest"
	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

func tree(t *testing.T, files gt.Tree) *vfs.Tree {
	t.Helper()
	img := gt.Ext2(gt.RootUUID, "", files)
	f, err := extfs.New(bytes.NewReader(img), int64(len(img)))
	require.NoError(t, err)
	return vfs.NewTree(f)
}

const menu = `
menuentry 'First' --class a $menuentry_id_option 'first-id' { linux /vmlinuz-1 root=/dev/one
	initrd /initrd-1
}
submenu 'Advanced options' $menuentry_id_option 'advanced-id' {
	menuentry 'Second, old' --unrestricted --id second-id {
		load_video
		if [ x$grub_platform = xxen ]; then insmod xzio; else insmod gzio; fi
		search --no-floppy --fs-uuid --set=root --hint-bios=hd0,msdos1  11111111-2222-3333-4444-555555555555
		linux	/vmlinuz-2 root=UUID=two ro quiet \
			splash
		initrd	/microcode.img /initrd-2
	}
	menuentry 'Third' { linux16 /vmlinuz-3 root=/dev/three ; initrd16 /initrd-3 }
}
menuentry 'Fourth' $menuentry_id_option 'fourth-id' {
	linuxefi /vmlinuz-4 root=/dev/four
}
`

const head = `
function savedefault {
  if [ -z "${boot_once}" ]; then
    saved_entry="${chosen}"
    save_env saved_entry
  fi
}
if [ x"${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
`

const savedHead = `
if [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
elif [ "${other}" = "x" -a ! -f /nothing ]; then
   set default=3
else
   set default="${saved_entry}"
fi
` + head

func TestGRUB2Default(t *testing.T) {
	t.Parallel()
	env := func(s string) string { return "# GRUB Environment Block\n" + s + "\n" + strings.Repeat("#", 900) }
	for name, c := range map[string]struct {
		script, env, kernel string
	}{
		"none":                {head + menu, "", "/vmlinuz-1"},
		"number":              {"set default=\"2\"\n" + head + menu, "", "/vmlinuz-4"},
		"submenu by numbers":  {"set default='1>1'\n" + head + menu, "", "/vmlinuz-3"},
		"submenu by IDs":      {"set default='advanced-id>second-id'\n" + head + menu, "", "/vmlinuz-2"},
		"title":               {"set default=\"Fourth\"\n" + head + menu, "", "/vmlinuz-4"},
		"submenu alone":       {"set default=1\n" + head + menu, "", "/vmlinuz-2"},
		"not there":           {"set default=nothing\n" + head + menu, "", "/vmlinuz-1"},
		"saved":               {savedHead + menu, env("saved_entry=advanced-id>second-id"), "/vmlinuz-2"},
		"saved, none":         {savedHead + menu, env("x=y"), "/vmlinuz-1"},
		"saved, no block":     {savedHead + menu, "", "/vmlinuz-1"},
		"next":                {savedHead + menu, env("saved_entry=first-id\nnext_entry=fourth-id"), "/vmlinuz-4"},
		"condition":           {savedHead + menu, env("other=x"), "/vmlinuz-1"},
		"after the menu":      {head + menu + "\nset default=2\n", "", "/vmlinuz-4"},
		"assigned, not set":   {"default=2\n" + head + menu, "", "/vmlinuz-4"},
		"a file that is read": {head + menu + "\nif [ -f ${config_directory}/custom.cfg ]; then\n source ${config_directory}/custom.cfg\nfi\n", "", "/vmlinuz-custom"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := gt.Tree{"boot/grub/grub.cfg": c.script}
			if c.env != "" {
				files["boot/grub/grubenv"] = c.env
			}
			if name == "a file that is read" {
				files["boot/grub/custom.cfg"] = "menuentry Custom { linux /vmlinuz-custom }\nset default=Custom\n"
			}
			found := bootcfg.Find(tree(t, files), false)
			require.NotNil(t, found)
			require.Equal(t, bootcfg.GRUB2, found.Loader)
			require.NotNil(t, found.Entry())
			require.Equal(t, c.kernel, found.Entry().Kernel)
		})
	}
	second := bootcfg.Find(tree(t, gt.Tree{"boot/grub2/grub.cfg": "set default='1>0'\n" + head + menu}), false).Entry()
	require.Equal(t, "root=UUID=two ro quiet splash", second.Options)
	require.Equal(t, []string{"/microcode.img", "/initrd-2"}, second.Initrd)
	require.Equal(t, "11111111-2222-3333-4444-555555555555", second.FSUUID)
	require.Equal(t, "Second, old", second.Title)
	require.Equal(t, "boot/grub2/grub.cfg", second.Path)
	lines := strings.Split("set default='1>0'\n"+head+menu, "\n")
	require.Contains(t, lines[second.Line-1], "vmlinuz-2")
}

func TestBLS(t *testing.T) {
	t.Parallel()
	entry := func(v string) string {
		return "title Fedora (" + v + ")\nversion " + v + "\nlinux /vmlinuz-" + v + "\ninitrd /initramfs-" + v + ".img $tuned_initrd\noptions $kernelopts quiet\ngrub_users $grub_users\n"
	}
	files := gt.Tree{
		"boot/grub2/grub.cfg":                  savedHead + "set kernelopts=\"root=/dev/default\"\nif [ -s $prefix/grubenv ]; then load_env; fi\ninsmod blscfg\nblscfg\n",
		"boot/grub2/grubenv":                   "saved_entry=id-5.9.0\nkernelopts=root=UUID=x ro\n",
		"boot/loader/entries/id-5.9.0.conf":    entry("5.9.0"),
		"boot/loader/entries/id-5.10.0.conf":   entry("5.10.0"),
		"boot/loader/entries/id-0-rescue.conf": entry("0-rescue"),
	}
	e := bootcfg.Find(tree(t, files), false).Entry()
	require.Equal(t, "/vmlinuz-5.9.0", e.Kernel)
	require.Equal(t, "root=UUID=x ro quiet", e.Options)
	require.Equal(t, []string{"/initramfs-5.9.0.img"}, e.Initrd)
	require.Equal(t, 5, e.Line)

	e = bootcfg.Find(tree(t, files.With(gt.Tree{"boot/grub2/grubenv": "saved_entry=\n"})), false).Entry()
	require.Equal(t, "/vmlinuz-5.10.0", e.Kernel)
}

func TestGRUBLegacy(t *testing.T) {
	t.Parallel()
	conf := "default=1\ntimeout=5\ntitle One\n\troot (hd0,0)\n\tkernel /vmlinuz-1 ro root=/dev/sda1\n\tinitrd /initrd-1\ntitle Two\n\troot (hd0,0)\n\tkernel --no-mem-option (hd0,0)/vmlinuz-2 ro root=LABEL=/ quiet\n\tinitrd (hd0,0)/initrd-2.img\n"
	c := bootcfg.Find(tree(t, gt.Tree{"boot/grub/grub.conf": conf}), false)
	require.Equal(t, bootcfg.GRUBLegacy, c.Loader)
	require.Equal(t, "(hd0,0)/vmlinuz-2", c.Entry().Kernel)
	require.Equal(t, "ro root=LABEL=/ quiet", c.Entry().Options)
	require.Equal(t, 9, c.Entry().Line)
	c = bootcfg.Find(tree(t, gt.Tree{"boot/grub/menu.lst": strings.Replace(conf, "default=1", "default saved", 1), "boot/grub/default": "0\n#\n"}), false)
	require.Equal(t, "/vmlinuz-1", c.Entry().Kernel)
}

func TestSystemdBoot(t *testing.T) {
	t.Parallel()
	files := gt.Tree{
		"boot/loader/loader.conf":          "timeout 3\ndefault arch-*\n",
		"boot/loader/entries/arch-1.conf":  "title Arch\nversion 1\nlinux /vmlinuz-linux\ninitrd /ucode.img\ninitrd /initramfs-linux.img\noptions root=PARTUUID=x\noptions rw\n",
		"boot/loader/entries/zother.conf":  "title Other\nversion 9\nlinux /vmlinuz-other\n",
		"boot/EFI/systemd/systemd-bootx64": "x",
	}
	c := bootcfg.Find(tree(t, files), true)
	require.Equal(t, bootcfg.SystemdBoot, c.Loader)
	require.Equal(t, "/vmlinuz-linux", c.Entry().Kernel)
	require.Equal(t, "root=PARTUUID=x rw", c.Entry().Options)
	require.Equal(t, []string{"/ucode.img", "/initramfs-linux.img"}, c.Entry().Initrd)
}

func TestExtlinux(t *testing.T) {
	t.Parallel()
	conf := "DEFAULT menu.c32\nPROMPT 0\nLABEL virt\n  MENU LABEL Linux virt\n  LINUX vmlinuz-virt\n  INITRD initramfs-virt\n  APPEND root=UUID=x modules=ext4\nLABEL lts\n  MENU DEFAULT\n  LINUX vmlinuz-lts\n  APPEND initrd=initramfs-lts root=/dev/sda3\n"
	c := bootcfg.Find(tree(t, gt.Tree{"boot/extlinux.conf": conf}), false)
	require.Equal(t, bootcfg.Extlinux, c.Loader)
	require.Equal(t, "/boot/vmlinuz-lts", c.Entry().Kernel)
	require.Equal(t, []string{"/boot/initramfs-lts"}, c.Entry().Initrd)
	c = bootcfg.Find(tree(t, gt.Tree{"boot/extlinux/extlinux.conf": strings.Replace(conf, "menu.c32", "virt", 1)}), false)
	require.Equal(t, "/boot/extlinux/vmlinuz-virt", c.Entry().Kernel)
}

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	ordered := []string{"0-rescue", "2.6.32", "3.10.0-957.el7", "3.10.0-1160.el7", "5.9.0", "5.10.0-rc1", "5.10.0", "5.10.1"}
	for i := range ordered {
		require.Zero(t, bootcfg.CompareVersions(ordered[i], ordered[i]))
		for j := range i {
			if ordered[j] == "5.10.0-rc1" && ordered[i] == "5.10.0" {
				continue // without "~" a suffix is newer
			}
			require.Negative(t, bootcfg.CompareVersions(ordered[j], ordered[i]), "%s %s", ordered[j], ordered[i])
			require.Positive(t, bootcfg.CompareVersions(ordered[i], ordered[j]), "%s %s", ordered[j], ordered[i])
		}
	}
}

// Variables that double, scripts that read themselves and blocks without an end
// come to an end soon.
func TestHostileScripts(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"doubling":    "set a=aaaaaaaaaaaaaaaa\n" + strings.Repeat("set a=\"$a$a$a$a\"\n", 60_000) + menu,
		"wide":        "set a=" + strings.Repeat("a", 60<<10) + "\n" + strings.Repeat("linux "+strings.Repeat("$a ", 100)+"\n", 8000),
		"itself":      strings.Repeat("source /boot/grub/grub.cfg\n", 1000) + menu,
		"nesting":     strings.Repeat("submenu a {\n", 100_000),
		"conditions":  strings.Repeat("if [ a = a ]; then\n", 100_000),
		"quotes":      strings.Repeat("'\"\\", 100_000),
		"long entry":  "menuentry a { linux /v " + strings.Repeat("x ", 100_000),
		"and, and or": "if [ " + strings.Repeat("a -a b -o ", 20_000) + " ]; then\nfi\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bootcfg.Find(tree(t, gt.Tree{"boot/grub/grub.cfg": script}), false)
		})
	}
}
