/* The least program: what exec itself costs. Linked statically. */
int main(void)
{
    return 0;
}
