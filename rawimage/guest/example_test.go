package guest_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log"

	"github.com/fastimage/fastimage/rawimage/guest"
	gt "github.com/fastimage/fastimage/rawimage/guest/internal/guesttest"
)

func ExampleExamine() {
	// Any io.ReaderAt will do: a file, a QCOW2 that is open, an object in a bucket.
	image := onDisk(gt.Debian().With(gt.Tree{"etc/fstab": "/dev/sda1 / ext4 defaults 0 1\n/dev/sdb1 /data ext4 defaults 0 2\n"}))
	disk := bytes.NewReader(image)

	report, err := guest.Examine(context.Background(), disk, disk.Size(), guest.WithFirmware(guest.FirmwareBIOS))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, kernel %s, %s on %s\n", report.OS, report.Kernel, report.Root.Type, report.Root.Name)
	for _, f := range report.Findings {
		if f.Status != guest.StatusFail {
			continue
		}
		fmt.Printf("%s: %s\n", f.Check, f.Summary)
		for _, e := range f.Evidence {
			fmt.Printf("  %s:%d %s\n", e.Path, e.Line, e.Text)
		}
		fmt.Printf("  fix: %s\n", f.Fix)
	}
	hostname, _ := fs.ReadFile(report.FS(), "etc/debian_version")
	fmt.Printf("Debian %s", hostname)
	// Output:
	// Debian GNU/Linux 12.9, kernel 6.1.0-31-amd64, ext2 on partition 1
	// fstab-devices: fstab waits for /dev/sdb1, which the server does not have: it stops in emergency mode
	//   /etc/fstab:2 /dev/sdb1 /data ext4 defaults 0 2
	//   /etc/fstab:1 /dev/sda1 / ext4 defaults 0 1
	//   fix: remove the line, or add the option nofail
	// Debian 12.9
}
