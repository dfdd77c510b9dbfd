package disk_test

import (
	"context"
	"fmt"
	"log"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/disk"
)

func Example() {
	im, err := rawimage.Open("../../testdata/disk.raw")
	if err != nil {
		log.Fatal(err)
	}
	defer im.Close()
	info, err := disk.Inspect(context.Background(), im, im.Size())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Table, info.Firmware, info.MinDiskGB)
	for _, p := range info.Partitions {
		fmt.Println(p.Number, p.Start, p.Size, p.TypeName, p.Filesystem)
	}
	for _, h := range info.Hints {
		fmt.Printf("%s: %s (%s)\n", h.Key, h.Value, h.Source)
	}
	// Output:
	// gpt uefi 1
	// 1 1048576 8388608 EFI system vfat
	// 2 9437184 50331648 Linux filesystem ext4
	// os: debian (EFI/debian on partition 1)
	// architecture: x86 (EFI/BOOT/BOOTX64.EFI on partition 1)
	// os: linux (ext4 file system of partition 2)
}
