r2 = *(u8 *)(r1 +0)
if r2 == 9 goto nine
*(u8 *)(r1 +1) = 1
goto join
nine:
*(u8 *)(r1 +2) = 2
join:
r0 = *(u8 *)(r1 +1)
exit
