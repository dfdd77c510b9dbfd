package disk

const MaxStreamSize = 1 << 40
