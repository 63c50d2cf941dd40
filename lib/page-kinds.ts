/** Names of the page kinds, by growing page. */
export const PAGE_KINDS = ['4k', 'thp', '2m', '1g'] as const;

/** Host page kinds a user can ask for: 4 KB base pages, transparent 2 MB, hugetlb 2 MB, hugetlb 1 GB. */
export type PageKind = (typeof PAGE_KINDS)[number];

/** Bytes of one page of each kind. */
export const PAGE_BYTES: Readonly<Record<PageKind, number>> = {
  '4k': 4096,
  thp: 2 ** 21,
  '2m': 2 ** 21,
  '1g': 2 ** 30,
};
